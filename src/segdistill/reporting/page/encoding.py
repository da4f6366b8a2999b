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
from segdistill.data.colors import palette

Map = NDArray[np.uint8]


def shrunk(values: Tensor, side: int) -> Map:
    """Class indices or flags (H,W) with no side longer than `side`."""
    return resized(values.cpu().to(torch.uint8).numpy(), side)


def resized(values: Map, side: int) -> Map:
    """Every so many pixels one, so that no side is longer than `side`; nothing is mixed."""
    sizes = zip(_fit(values.shape[0], values.shape[1], side), values.shape, strict=True)
    rows, columns = ((np.arange(new) * old + old // 2) // new for new, old in sizes)
    taken: Map = values[rows[:, None], columns]
    return taken


def photo(image: Tensor, side: int) -> Image.Image:
    """uint8 (3,H,W) as a picture with no side longer than `side`."""
    picture = Image.fromarray(image.permute(1, 2, 0).cpu().numpy())
    height, width = _fit(picture.height, picture.width, side)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def photo_uri(picture: Image.Image) -> str:
    """As WebP."""
    return _uri(picture, "webp", quality=80, method=6)


def classes_uri(label: Map, classes: Classes) -> str:
    """Class indices (H,W) in the class colors, void white."""
    picture = Image.fromarray(label, mode="P")
    picture.putpalette(palette(classes).tobytes())
    return _uri(picture, "png", optimize=True)


def mask_uri(mask: Map, color: tuple[int, int, int]) -> str:
    """`color` where the mask (H,W) is not 0, nothing elsewhere."""
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
