"""The raw values of a decoded mask: samples, not brightness; whole numbers, not fractions; colors that are seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdistill.core.errors import DataError
from segdistill.data.formats import ACCEPTED, Header
from segdistill.data.values import Raw


def indices(picture: Image.Image, header: Header, path: Path) -> Raw:
    """The values of an index mask.

    Args:
        picture: the decoded mask.
        header: of its file.
        path: of the mask, for the message.

    Returns:
        (H,W), uint8, or uint16 where values may be beyond 255.

    Raises:
        DataError: it is painted in colors, transparent, or holds fractions or values beyond 0 to 65535.
    """
    if picture.mode not in ACCEPTED["mask"].modes:
        raise DataError(_not_indices(picture, path))
    if picture.mode == "LA":
        return _opaque(picture, path)
    if picture.mode.startswith(("I", "F")):
        return whole(np.array(picture), path)
    values = np.array(picture).astype(np.uint8)
    if header.format == "GIF" and picture.mode == "P":
        _check_gif(picture, values, path)
    if picture.mode == "L" and header.bits in (2, 4):
        return values // np.uint8(255 // ((1 << header.bits) - 1))  # Pillow spreads samples to 0..255
    return values


def whole(values: NDArray[Any], path: Path) -> Raw:
    """Numbers of any type as whole numbers.

    Args:
        values: (H,W).
        path: of the mask, for the message.

    Returns:
        The same numbers, uint8 or uint16.

    Raises:
        DataError: they are not whole, or beyond 0 to 65535.
    """
    if values.dtype.kind == "f":
        fractions = values != np.floor(values)  # so is NaN
        if fractions.any():
            raise DataError(
                f"Mask {path} holds {values[fractions][0]:g}, which is not a whole number, in "
                f"{100 * fractions.mean():.3g} % of its pixels; expected class indices. Was it resized with smooth "
                "edges, or does it hold scores? Export the masks anew."
            )
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0 or high > 65535:
        raise DataError(f"Mask {path} holds values from {low:g} to {high:g}; expected 0 to 65535. Write void as 255.")
    return np.ascontiguousarray(values).astype(np.uint8 if values.dtype.itemsize == 1 else np.uint16)


def packed_colors(picture: Image.Image, path: Path) -> Raw:
    """The colors of a painted mask.

    Args:
        picture: the decoded mask.
        path: of the mask, for the message.

    Returns:
        (H,W), uint32, each pixel 0xRRGGBB.

    Raises:
        DataError: a pixel is half transparent, or transparent with a color of its own.
    """
    if picture.mode in {"LA", "PA", "RGBA"} or "transparency" in picture.info:
        pixels = np.array(picture.convert("RGBA"))
        alpha, shown = pixels[..., 3], pixels[..., :3].any(-1)
        unclear = ((alpha > 0) & (alpha < 255)) | ((alpha == 0) & shown)
        if unclear.any():
            raise DataError(
                f"Mask {path} is transparent in {100 * unclear.mean():.3g} % of its pixels, which have a color all the "
                "same: it is not certain which of the two counts. Save it without transparency."
            )
        channels = pixels[..., :3].astype(np.uint32)
    else:
        channels = np.array(picture.convert("RGB")).astype(np.uint32)
    return channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]


def _opaque(picture: Image.Image, path: Path) -> Raw:
    values = np.array(picture)
    if (values[..., 1] != 255).any():
        raise DataError(
            f"Mask {path} is grey with alpha (mode LA) and in parts transparent; whether these parts are void or "
            "class indices is not certain. Save it without the alpha channel."
        )
    return np.ascontiguousarray(values[..., 0])


def _check_gif(picture: Image.Image, values: Raw, path: Path) -> None:
    """Refuse a grey GIF whose indices are not its grey levels: programs number the levels that occur anew.

    Black and white as 0 and 1 is the common form and taken by index.
    """
    palette = np.array(picture.getpalette() or [], np.uint8).reshape(-1, 3)
    used = np.unique(values)
    used = used[used < len(palette)]
    grey = (palette[used] == palette[used, :1]).all()
    levels = palette[used, 0]
    black_and_white = all((index, level) in {(0, 0), (1, 255)} for index, level in zip(used, levels, strict=True))
    if grey and not black_and_white and (levels != used).any():
        at = int(np.flatnonzero(levels != used)[0])
        raise DataError(
            f"Mask {path} is a grey GIF whose index {used[at]} is the grey level {levels[at]}: it is not certain which "
            "of the two is the class. Save the masks as PNG."
        )


def _not_indices(picture: Image.Image, path: Path) -> str:
    grey = ""
    if picture.mode == "RGB" and all(band == picture.getextrema()[0] for band in picture.getextrema()):
        channels = np.array(picture)
        if (channels == channels[..., :1]).all():
            grey = " Its three channels are equal: these may be class indices saved as RGB; save one channel."
    return (
        f"Mask {path} is a color image (mode {picture.mode}); expected one channel of class indices (grey or "
        f"palette).{grey} For your own folder give data.classes with each class's color and data.mask_colors=true; "
        "else convert the masks first."
    )
