"""Reading image and mask files, with errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from segdistill.errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})

_UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def read_image(path: Path) -> Tensor:
    """The file as uint8 (3,H,W) RGB, turned upright by its EXIF tag."""
    try:
        with Image.open(path) as picture:
            if picture.mode.startswith(("I", "F")):
                raise DataError(
                    f"Image {path} has more than 8 bits a channel (mode {picture.mode}); expected 8-bit RGB or grey. "
                    "Convert it, so that you choose what is bright and what is dark."
                )
            upright = ImageOps.exif_transpose(picture).convert("RGB")
            return torch.from_numpy(np.array(upright)).permute(2, 0, 1).contiguous()
    except _UNREADABLE as error:
        raise _unreadable("image", path, error) from error


def read_mask(path: Path) -> Tensor:
    """The file's class indices as uint8 (H,W); grey and palette files only, so that colours never pass for indices."""
    try:
        with Image.open(path) as picture:
            if picture.mode not in {"L", "P", "1"}:
                raise DataError(
                    f"Mask {path} is a colour or deep image (mode {picture.mode}); expected one 8-bit channel of class "
                    "indices (grey or palette). Convert the colours to class indices first."
                )
            return torch.from_numpy(np.array(picture).astype(np.uint8))
    except _UNREADABLE as error:
        raise _unreadable("mask", path, error) from error


def check_mask(mask: Tensor, *, size: tuple[int, int], num_classes: int, void: frozenset[int], path: Path) -> None:
    """Refuse a mask of another size than its image, or with a value that is neither a class nor void."""
    if tuple(mask.shape) != size:
        raise DataError(
            f"Mask {path} is {mask.shape[1]}x{mask.shape[0]} pixels (width x height) but its image is "
            f"{size[1]}x{size[0]}. Export the mask at the image's own size."
        )
    present = mask.unique().tolist()
    wrong = [value for value in present if value >= num_classes and value not in void]
    if wrong:
        raise DataError(
            f"Mask {path} holds the value {wrong[0]}; expected class indices 0..{num_classes - 1} or void "
            f"({', '.join(map(str, sorted(void)))}). Check the class list, or declare the value as void (data.void)."
        )


def require_folder(path: Path, hint: str) -> Path:
    """`path` if it is a folder, else an error that says what was looked for."""
    if not path.is_dir():
        raise DataError(f"No folder {path}. {hint}")
    return path


def _unreadable(kind: str, path: Path, error: Exception) -> DataError:
    if not path.exists():
        return DataError(f"No {kind} file {path}. Check data.root and the list file.")
    return DataError(
        f"Can't read {kind} {path} ({path.stat().st_size} bytes): {error}. Replace the file, or take it off the list."
    )
