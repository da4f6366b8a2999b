"""Pictures as data URIs: photographs as WebP, class maps as palette PNG, masks as PNG of one bit."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from segdistill.core.classes import Classes
from segdistill.core.colors import as_picture, palette

Map = NDArray[np.uint8]


def shrunk(values: Tensor, side: int) -> Map:
    """A small map.

    Args:
        values: Class indices or flags (H,W).
        side: What no side of the result is longer than, in pixels.

    Returns:
        (h,w), uint8.
    """
    return resized(values.cpu().to(torch.uint8).numpy(), side)


def resized(values: Map, side: int) -> Map:
    """A smaller map of every so many pixels one; nothing is mixed.

    Args:
        values: (H,W).
        side: What no side of the result is longer than, in pixels.

    Returns:
        (h,w).
    """
    sizes = zip(_fit(values.shape[0], values.shape[1], side), values.shape, strict=True)
    rows, columns = ((np.arange(new) * old + old // 2) // new for new, old in sizes)
    taken: Map = values[rows[:, None], columns]
    return taken


def photo(image: Tensor, side: int) -> Image.Image:
    """A small picture of an image.

    Args:
        image: RGB uint8 (3,H,W), or as `as_picture` takes it.
        side: What no side of the result is longer than, in pixels.

    Returns:
        The picture.
    """
    picture = Image.fromarray(as_picture(image))
    height, width = _fit(picture.height, picture.width, side)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def photo_uri(picture: Image.Image) -> str:
    """A photograph as a data URI.

    Args:
        picture: RGB.

    Returns:
        A WebP.
    """
    return _uri(picture, "webp", quality=80, method=6)


def classes_uri(label: Map, classes: Classes) -> str:
    """A class map as a data URI.

    Args:
        label: Class indices or void (H,W).
        classes: Whose colors are taken; void is white.

    Returns:
        A PNG with a palette.
    """
    picture = Image.fromarray(label, mode="P")
    picture.putpalette(palette(classes).tobytes())
    return _uri(picture, "png", optimize=True)


def mask_uri(mask: Map, color: tuple[int, int, int]) -> str:
    """A mask as a data URI.

    Args:
        mask: (H,W).
        color: Where it is not 0; it is transparent elsewhere.

    Returns:
        A PNG of one bit.
    """
    picture = Image.fromarray((mask != 0).astype(np.uint8), mode="P")
    picture.putpalette([0, 0, 0, *color])
    return _uri(picture, "png", optimize=True, bits=1, transparency=0)


def _fit(height: int, width: int, side: int) -> tuple[int, int]:
    factor = min(1.0, side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def _uri(picture: Image.Image, kind: str, **options: Any) -> str:
    written = io.BytesIO()
    picture.save(written, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(written.getvalue()).decode('ascii')}"
