"""`predict`: masks and overlays for image files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from segdistill.core.errors import DataError
from segdistill.data.colors import overlay, save_mask, save_picture, with_legend
from segdistill.data.reading import IMAGE_SUFFIXES, read_image
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.loaded import LoadedModel
from segdistill.runtime.allocator import keep_freed_memory
from segdistill.runtime.display import counting
from segdistill.runtime.processes import own_device


@dataclass(frozen=True)
class Prediction:
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
) -> Iterable[Prediction]:
    """Predict image files and the images of folders, one by one as the result is read.

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
        DataError: An image can't be read, or is too small for the network.
    """
    device = own_device()
    keep_freed_memory(device)
    network = model.network.to(device)
    files = list(image_files(inputs))
    stems = [file.stem for file in files]
    for file in files:
        # Two inputs of one stem would overwrite each other's results; then the folder's name goes in front.
        stem = file.stem if stems.count(file.stem) == 1 else f"{file.parent.name}-{file.stem}-{file.suffix[1:]}"
        image = read_image(file)
        try:
            label = _classes(network, image.to(device), inference, file, model.path)
        except (ValueError, RuntimeError) as error:
            if "size" not in str(error) or isinstance(error, torch.OutOfMemoryError):
                raise
            raise DataError(
                f"{model.path} can't be run on {file}, {image.shape[2]}x{image.shape[1]} pixels (width x height): "
                f"{error}. It may be too small: enlarge it, or take --set inference.scales=[2]."
            ) from error
        prediction = Prediction(file, out / f"{stem}_mask.png", out / f"{stem}_overlay.png")
        save_mask(prediction.mask, label, model.classes)
        pixels = overlay(image, label, model.classes, alpha=alpha)
        save_picture(prediction.overlay, with_legend(pixels, label, model.classes) if legend else pixels)
        yield prediction


def _classes(network: nn.Module, image: Tensor, inference: InferenceConfig, file: Path, weights: Path) -> Tensor:
    """Class indices (H,W) of an image (uint8 3,H,W); windows, which can take an hour, show how far they are."""
    with counting(f"{file.name}, percent", 100, quiet=inference.mode == "whole") as done:
        each = 100 / image[0].numel()
        prediction = infer(
            network, image[None], inference,
            on_pixels=lambda pixels: done(each * pixels), names=(str(file),), source=str(weights),
        )  # fmt: skip
        return prediction.classes[0].cpu()


def image_files(inputs: Iterable[Path], *, deep: bool = False) -> Iterable[Path]:
    """Image files as they are named, and those in named folders.

    Args:
        inputs: Files and folders.
        deep: Whether the folders below count as well.

    Yields:
        The files, those of a folder by name.

    Raises:
        DataError: A file or folder is missing, or a folder holds no image.
    """
    for path in inputs:
        if path.is_dir():
            inside = path.rglob("*") if deep else path.iterdir()
            images = sorted(file for file in inside if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
            if not images:
                raise DataError(f"Folder {path} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}).")
            yield from images
        elif path.is_file():
            yield path
        else:
            raise DataError(f"No image file or folder {path}.")
