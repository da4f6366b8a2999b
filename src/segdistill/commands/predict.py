"""Masks and overlays for image files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from segdistill.models.open import open_model
from segdistill.recipe.recipe import load_inference
from segdistill.reporting.prediction import Prediction, predict_files
from segdistill.runs.folder import RunFolder


def predict(
    weights: str | Path,
    *inputs: str | Path,
    out: str | Path = "predictions",
    alpha: float = 0.5,
    legend: bool = False,
    parts: Iterable[str | Path] = (),
) -> Iterable[Prediction]:
    """Write a mask (palette PNG of class indices) and an overlay for every image file, or image of a folder.

    weights: a run folder or a weight file. alpha: strength of the colors in the overlay. legend: names
    of the classes below it. parts: recipe parts that say
    how images are run, as "inference.flip=true", over the run's own. Works as it is iterated.
    """
    model = open_model(weights)
    recipe_file = RunFolder(model.path.parent).recipe
    inference = load_inference(*([recipe_file] if recipe_file.is_file() else []), *parts)
    files = [Path(path) for path in inputs]
    return predict_files(model, files, Path(out), inference=inference, alpha=alpha, legend=legend)
