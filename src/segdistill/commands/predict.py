"""Masks, overlays and labels for image files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from segdistill.commands.common import require_inference_keys, run_folder_of, split_network
from segdistill.core.discovery import validated
from segdistill.core.errors import RecipeError
from segdistill.core.paths import expanded
from segdistill.models.open import NetworkSource, described, open_model
from segdistill.recipe.recipe import load_inference
from segdistill.reporting.label_files.settings import LabelKeys, LabelSettings
from segdistill.reporting.prediction import PredictedFiles, predict_files


def predict(
    weights: NetworkSource,
    *inputs: str | Path | Iterable[str | Path],
    out: str | Path = "predictions",
    legend: bool = False,
    parts: Iterable[str | Path] = (),
    network: Mapping[str, Any] | None = None,
    **keys: Unpack[LabelKeys],
) -> Sequence[PredictedFiles]:
    """Write a mask (palette PNG of class indices) for every image file, or image of a folder, and overlays or labels.

    No two images share a file, and none is written over: results lie as the images lie below their folder, with the
    suffix in the name where two differ only in it. What the same call has made before is kept, so that one that was
    stopped goes on. Of several processes each predicts its share.

    Args:
        weights: a run folder, a weight file, a name such as module:package.module:factory, or a network itself.
        *inputs: image files and folders of them, or lists of these.
        out: the folder that masks, overlays and labels are written to.
        legend: whether the names of the classes stand below the overlays.
        parts: recipe words that say how images are run, as "inference.flip=true", over the run's own; and
            `network.key=value` as `network`.
        network: of one of another library: mean, std, bgr, and the adapter's options, as classifier.
        **keys: what becomes of the predictions, `LabelSettings`: format ("masks", "coco", "labelme", "cvat" or
            "labelstudio"), min_area, void_below, alpha (of the overlays), batch_size and executor ("local" or "ray").

    Returns:
        What was written for each image.

    Raises:
        SegdistillError: weights or an image can't be read, scores are not finite, or a file can't be written.
    """
    return [*predict_each(weights, inputs, out=out, legend=legend, parts=parts, network=network, **keys)]


def predict_each(
    weights: NetworkSource,
    inputs: Iterable[str | Path | Iterable[str | Path]],
    *,
    out: str | Path,
    legend: bool = False,
    parts: Iterable[str | Path] = (),
    network: Mapping[str, Any] | None = None,
    **keys: Unpack[LabelKeys],
) -> Iterable[PredictedFiles]:
    """As `predict`, image by image as the result is read.

    Args:
        weights: as of `predict`, as is all else.
        inputs: image files and folders of them, or lists of these.
        out: the folder that is written to.
        legend: whether the names of the classes stand below the overlays.
        parts: recipe words.
        network: options of a network of another library.
        **keys: of `LabelSettings`.

    Returns:
        What was written for each image, once it is.
    """
    settings = validated(LabelSettings, dict(keys))
    words, options = split_network([*parts], network)
    require_inference_keys(words, LabelSettings.model_fields, "predict")
    model = open_model(described(weights, options))
    run = run_folder_of(model)
    inference = load_inference(*([run.recipe] if run is not None and run.recipe.is_file() else []), *words)
    files = _files(inputs)
    name = str(weights) if isinstance(weights, str | Path) and not options else None
    return predict_files(
        model, files, expanded(Path(out)), inference=inference, settings=settings, legend=legend, weights=name
    )


def _files(inputs: Iterable[Any]) -> list[Path]:
    """What was named, lists taken apart."""
    files = []
    for each in inputs:
        many = isinstance(each, Iterable) and not isinstance(each, str)
        for path in each if many else [each]:
            if not isinstance(path, str | Path):
                raise RecipeError(
                    f"predict takes image files, folders and lists of these, and was given {type(path).__name__}. For "
                    "pixels: segdistill.load_model(...).predict(image)."
                )
            files.append(Path(path))
    if not files:
        raise RecipeError("predict was given no image: a list or pattern of files is empty.")
    return files
