"""Masks and overlays for image files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segdistill.commands.common import run_folder_of, split_network
from segdistill.core.paths import expanded
from segdistill.models.open import NetworkSource, described, open_model
from segdistill.recipe.recipe import load_inference
from segdistill.reporting.prediction import PredictedFiles, predict_files


def predict(
    weights: NetworkSource,
    *inputs: str | Path,
    out: str | Path = "predictions",
    alpha: float = 0.5,
    legend: bool = False,
    parts: Iterable[str | Path] = (),
    network: Mapping[str, Any] | None = None,
) -> Sequence[PredictedFiles]:
    """Write a mask (palette PNG of class indices) and an overlay for every image file, or image of a folder.

    No two images share a file, and none is written over: results lie as the images lie below their folder, with the
    suffix in the name where two differ only in it.

    Args:
        weights: a run folder, a weight file, a name such as module:package.module:factory, or a network itself.
        *inputs: image files and folders of them.
        out: the folder that masks and overlays are written to.
        alpha: strength of the colors in the overlay, from 0 to 1.
        legend: whether the names of the classes stand below it.
        parts: recipe words that say how images are run, as "inference.flip=true", over the run's own; and
            `network.key=value` as `network`.
        network: of one of another library: mean, std, bgr, and the adapter's options, as classifier.

    Returns:
        What was written for each image.

    Raises:
        SegdistillError: weights or an image can't be read, scores are not finite, or a file can't be written.
    """
    return [*predict_each(weights, inputs, out=out, alpha=alpha, legend=legend, parts=parts, network=network)]


def predict_each(
    weights: NetworkSource,
    inputs: Iterable[str | Path],
    *,
    out: str | Path,
    alpha: float = 0.5,
    legend: bool = False,
    parts: Iterable[str | Path] = (),
    network: Mapping[str, Any] | None = None,
) -> Iterable[PredictedFiles]:
    """As `predict`, image by image as the result is read.

    Args:
        weights: as of `predict`, as is all else.
        inputs: image files and folders of them.
        out: the folder that is written to.
        alpha: strength of the colors in the overlay.
        legend: whether the names of the classes stand below it.
        parts: recipe words.
        network: options of a network of another library.

    Returns:
        What was written for each image, once it is.
    """
    words, options = split_network([*parts], network)
    model = open_model(described(weights, options))
    run = run_folder_of(model)
    inference = load_inference(*([run.recipe] if run is not None and run.recipe.is_file() else []), *words)
    files = [Path(path) for path in inputs]
    return predict_files(model, files, expanded(Path(out)), inference=inference, alpha=alpha, legend=legend)
