"""Masks and overlays for image files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from segdistill.core.paths import expanded
from segdistill.models.open import open_model
from segdistill.recipe.recipe import load_inference
from segdistill.reporting.prediction import Prediction, predict_files
from segdistill.runs.folder import run_of


def predict(
    weights: str | Path,
    *inputs: str | Path,
    out: str | Path = "predictions",
    alpha: float = 0.5,
    legend: bool = False,
    parts: Iterable[str | Path] = (),
) -> Iterable[Prediction]:
    """Write a mask (palette PNG of class indices) and an overlay for every image file, or image of a folder.

    Works as it is iterated. No two images share a file, and none is written over: results lie as the images lie below
    their folder, with the suffix in the name where two differ only in it.

    Args:
        weights: a run folder or a weight file.
        *inputs: image files and folders of them.
        out: the folder that masks and overlays are written to.
        alpha: strength of the colors in the overlay, from 0 to 1.
        legend: whether the names of the classes stand below it.
        parts: recipe parts that say how images are run, as "inference.flip=true", over the run's own.

    Returns:
        What was written for each image.

    Raises:
        SegdistillError: weights or an image can't be read, scores are not finite, or a file can't be written.
    """
    model = open_model(weights)
    recipe_file = run_of(model.path).recipe
    inference = load_inference(*([recipe_file] if recipe_file.is_file() else []), *parts)
    files = [Path(path) for path in inputs]
    return predict_files(model, files, expanded(Path(out)), inference=inference, alpha=alpha, legend=legend)
