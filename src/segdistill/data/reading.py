"""Reading image and mask files, with errors that name the file."""

from __future__ import annotations

import os
import re
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from segdistill.core.errors import DataError
from segdistill.data.decoding import decode_grey, decode_rgb
from segdistill.data.values import Raw

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})

LIMIT = "SEGDISTILL_MAX_PIXELS"
"""The environment variable that moves the limit of `largest_image`."""

if os.environ.get(LIMIT, "").isdecimal():
    Image.MAX_IMAGE_PIXELS = int(os.environ[LIMIT]) // 2  # Pillow warns beyond it and refuses beyond its double
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # what is not refused is welcome

_UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def read_image(path: Path) -> Tensor:
    """Read an image file, turned upright by its EXIF tag. In memory a pixel's channels lie together.

    Args:
        path: an 8-bit image, grey or colored, of a suffix in `IMAGE_SUFFIXES`.

    Returns:
        RGB uint8 (3,H,W).

    Raises:
        DataError: the file is missing, broken, too large, or has more than 8 bits a channel.
    """
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content)) as picture:
            if picture.mode.startswith(("I", "F")):
                raise DataError(
                    f"Image {path} has more than 8 bits a channel (mode {picture.mode}); expected 8-bit RGB or grey. "
                    "Convert it, so that you choose what is bright and what is dark."
                )
            pixels = decode_rgb(picture, content)
            if pixels is None:
                pixels = np.array(ImageOps.exif_transpose(picture).convert("RGB"))
            return torch.from_numpy(pixels).permute(2, 0, 1)
    except _UNREADABLE as error:
        raise _unreadable("image", path, error) from error


def read_mask(path: Path, *, deep: bool = False, colors: bool = False) -> Raw:
    """Read a mask file's raw values: indices of a grey or palette file. Colors never pass for indices.

    Args:
        path: of the mask.
        deep: take 16-bit files as well.
        colors: take the file as painted in colors.

    Returns:
        (H,W): uint8; uint16 of a deep file; uint32, each pixel 0xRRGGBB, with `colors`.

    Raises:
        DataError: the file is missing, broken, too large, or of colors where indices are expected.
    """
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content)) as picture:
            if colors:
                return _packed_colors(picture)
            if deep and picture.mode.startswith("I"):
                return _sixteen_bits(picture, path)
            if picture.mode not in {"L", "P", "1"}:
                raise DataError(_no_indices(picture, path))
            indices = decode_grey(picture, content)
            return np.array(picture).astype(np.uint8) if indices is None else indices
    except _UNREADABLE as error:
        raise _unreadable("mask", path, error) from error


def check_size(raw: Raw, size: tuple[int, int], path: Path) -> None:
    """Refuse a mask of another size than its image.

    Args:
        raw: the mask (H,W).
        size: (H,W) of the image.
        path: of the mask, for the message.

    Raises:
        DataError: the sizes differ.
    """
    if raw.shape != size:
        raise DataError(
            f"Mask {path} is {raw.shape[1]}x{raw.shape[0]} pixels (width x height) but its image is "
            f"{size[1]}x{size[0]}. Export the mask at the image's own size."
        )


def _packed_colors(picture: Image.Image) -> Raw:
    channels = np.array(picture.convert("RGB")).astype(np.uint32)
    return channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]


def _sixteen_bits(picture: Image.Image, path: Path) -> Raw:
    values = np.array(picture)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise DataError(f"Mask {path} holds values from {values.min()} to {values.max()}; expected 0 to 65535.")
    return values.astype(np.uint16)


def _no_indices(picture: Image.Image, path: Path) -> str:
    grey = ""
    if picture.mode == "RGB" and all(band == picture.getextrema()[0] for band in picture.getextrema()):
        channels = np.array(picture)
        if (channels == channels[..., :1]).all():
            grey = " Its three channels are equal: these may be class indices saved as RGB; save one channel."
    return (
        f"Mask {path} is a color or deep image (mode {picture.mode}); expected one 8-bit channel of class indices "
        f"(grey or palette).{grey} For your own folder give data.classes with each class's color and "
        "data.mask_colors=true, or the meaning of 16-bit values with data.values; else convert the masks first."
    )


def require_folder(path: Path, hint: str) -> Path:
    """Refuse a folder that is not there.

    Args:
        path: of the folder.
        hint: a sentence on what belongs there, for the message.

    Returns:
        `path`.

    Raises:
        DataError: there is no such folder.
    """
    if not path.is_dir():
        raise DataError(f"No folder {path}. {hint}")
    return path


def _unreadable(kind: str, path: Path, error: Exception) -> DataError:
    if path.is_symlink() and not path.exists():
        return DataError(f"The {kind} {path} is a link that leads nowhere, or to itself. Put the file in its place.")
    if not path.exists():
        return DataError(f"No {kind} file {path}. Check data.root and the list file.")
    if isinstance(error, Image.DecompressionBombError):
        return DataError(
            f"The {kind} {path} is refused before it is decoded: {_pixels(error)}more than {largest_image()} pixels. "
            f"Cut it into tiles; or allow more pixels, as {LIMIT}=1000000000 in the environment, and take windows "
            "(inference.mode=slide), whose memory does not grow with the image."
        )
    size = path.stat().st_size
    what = f"{error}" if size else "it is empty"
    return DataError(f"Can't read {kind} {path} ({size} bytes): {what}. Replace the file, or take it off the list.")


def largest_image() -> int:
    """Pixels that an image or mask may have; larger ones are refused by their header. Pillow's limit for both."""
    return 2 * (Image.MAX_IMAGE_PIXELS or 0)


def _pixels(error: Exception) -> str:
    """What Pillow found, of its "Image size (N pixels) exceeds limit ..."."""
    match = re.search(r"\((\d+) pixels\)", str(error))
    return f"{match.group(1)} pixels, " if match else ""
