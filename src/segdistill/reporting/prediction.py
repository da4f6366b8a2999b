"""`predict`: masks and overlays for image files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor, nn

from segdistill.core.classes import require_countable
from segdistill.core.colors import overlay
from segdistill.core.errors import DataError, listed
from segdistill.core.output_names import output_names, refuse_overwriting
from segdistill.core.paths import expanded
from segdistill.core.results import Result
from segdistill.data.colors import save_mask, save_picture, with_legend
from segdistill.data.formats import IMAGE_SUFFIXES, is_of
from segdistill.data.own_folder.templates import files_below
from segdistill.data.reading import read_image
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.inference.preparing import MANY, prepared
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.loaded import LoadedModel
from segdistill.runtime.allocator import keep_freed_memory
from segdistill.runtime.display import counting
from segdistill.runtime.processes import own_device


@dataclass(frozen=True, repr=False)
class PredictedFiles(Result):
    """The files of one image.

    Attributes:
        image: The image file.
        mask: The written class mask.
        overlay: The written overlay.
    """

    image: Path
    mask: Path
    overlay: Path


def predict_files(
    model: LoadedModel,
    inputs: Iterable[Path],
    out: Path,
    *,
    inference: InferenceConfig,
    alpha: float = 0.5,
    legend: bool = False,
) -> Iterable[PredictedFiles]:
    """Predict image files and the images of folders and of those below them, one by one as the result is read.

    Results lie below `out` as the images lie below their folder. A file that can't be read does not end the others; it
    is an error once they are done.

    Args:
        model: The network and its classes.
        inputs: Files and folders.
        out: The folder that masks and overlays are written into.
        inference: How images are run through the network.
        alpha: Strength of the colors in the overlays, 0 to 1.
        legend: Whether overlays name the classes.

    Yields:
        The files written for each image.

    Raises:
        DataError: Images can't be read, or are too small for the network; a result would be written over an image, or
            there are more classes than a mask can hold.
    """
    require_countable(model.classes)
    below = _inputs(inputs, out)
    results = [
        PredictedFiles(file, out / f"{name}_mask.png", out / f"{name}_overlay.png")
        for file, name in output_names(below).items()
    ]
    refuse_overwriting([path for each in results for path in (each.mask, each.overlay)], [*below])
    device = own_device()
    keep_freed_memory(device)
    network: nn.Module = model.network.to(device)
    is_prepared = len(results) < MANY
    faults: list[str] = []
    for prediction in results:
        try:
            image = read_image(prediction.image)
            if not is_prepared:
                network, is_prepared = prepared(network, image[None].to(device), inference), True
            label = _label(network, image.to(device), inference, prediction.image, model.path)
        except DataError as error:
            faults.append(str(error))
            continue
        save_mask(prediction.mask, label, model.classes)
        pixels = overlay(image, label, model.classes, alpha=alpha)
        save_picture(prediction.overlay, with_legend(pixels, label, model.classes) if legend else pixels)
        yield prediction
    if faults:
        others = f"{len(faults)} of {len(results)} images could not be predicted, the others are done:\n  "
        raise DataError(f"{others if len(results) > 1 else ''}{listed(faults)}")


def _label(network: nn.Module, image: Tensor, inference: InferenceConfig, file: Path, weights: Path) -> Tensor:
    """Class indices (H,W) of an image; an error that names it where it does not fit the network."""
    try:
        return _classes(network, image, inference, file, weights)
    except (ValueError, RuntimeError) as error:
        if "size" not in str(error) or isinstance(error, torch.OutOfMemoryError):
            raise
        raise DataError(
            f"{weights} can't be run on {file}, {image.shape[2]}x{image.shape[1]} pixels (width x height): "
            f"{error}. It may be too small: enlarge it, or take inference.scales=[2]."
        ) from error


def _classes(network: nn.Module, image: Tensor, inference: InferenceConfig, file: Path, weights: Path) -> Tensor:
    """Class indices (H,W) of an image (uint8 3,H,W); windows, which can take an hour, show how far they are."""
    with counting(f"{file.name}, percent", 100, quiet=inference.mode == "whole") as done:
        each = 100 / image[0].numel()
        prediction = infer(
            network, image[None], inference,
            on_pixels=lambda pixels: done(each * pixels), names=(str(file),), source=str(weights),
        )  # fmt: skip
        return prediction.classes[0].cpu()


def image_files(inputs: Iterable[Path]) -> Iterable[Path]:
    """Image files as they are named, and those in named folders and the folders below; not the hidden ones.

    Args:
        inputs: Files and folders.

    Yields:
        The files, those of a folder by name.

    Raises:
        DataError: A file or folder is missing, or a folder holds no image.
    """
    yield from _inputs(inputs, None)


def _inputs(inputs: Iterable[Path], out: Path | None) -> dict[Path, PurePosixPath]:
    """Image file -> its path below the folder that was named. What lies in `out`, from an earlier call, is left out."""
    below: dict[Path, PurePosixPath] = {}
    for path in map(expanded, inputs):
        if path.is_dir():
            inside = [file for file in files_below(path) if is_of(file, IMAGE_SUFFIXES)]
            if out is not None and out.resolve() != path.resolve():
                inside = [file for file in inside if not file.resolve().is_relative_to(out.resolve())]
            if not inside:
                raise DataError(f"Folder {path} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}).")
            below.update(
                {file: PurePosixPath(file.relative_to(path).as_posix()) for file in inside if file not in below}
            )
        elif path.is_file():
            below.setdefault(path, PurePosixPath(path.name))
        else:
            raise DataError(f"No image file or folder {path}.")
    return below
