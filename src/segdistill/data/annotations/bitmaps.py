"""Small masks that stand as base64 text in JSON."""

from __future__ import annotations

import base64
import zlib
from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from segdistill.data.annotations.base import Bits
from segdistill.data.reading import largest_image


def bits_of_png(text: str, *, deflated: bool = False) -> Bits:
    """The mask of a PNG in base64: what is neither 0 nor transparent.

    Args:
        text: base64.
        deflated: whether the PNG was compressed once more by zlib.

    Returns:
        (h,w), bool.

    Raises:
        ValueError: it is damaged, or larger than images may be.
    """
    try:
        content = base64.b64decode(text, validate=True)
        if deflated:
            unpacker = zlib.decompressobj()
            content = unpacker.decompress(content, largest_image())
        with Image.open(BytesIO(content), formats=["PNG"]) as picture:
            if picture.width * picture.height > largest_image():
                raise ValueError(f"a mask of {picture.width}x{picture.height} pixels")
            if picture.mode in {"LA", "PA", "RGBA"}:
                return np.array(picture.getchannel("A")) > 0
            pixels = np.array(picture)
            return np.asarray(pixels > 0 if pixels.ndim == 2 else (pixels > 0).any(-1))
    except (zlib.error, UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"its mask is no whole PNG ({error})") from error
