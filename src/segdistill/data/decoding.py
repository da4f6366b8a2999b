"""Decoding plain image files with OpenCV, which is faster than Pillow; all that is not plain is left to Pillow.

Plain: 8-bit grey or RGB, PNG or JPEG, complete, not turned by EXIF, without transparency. OpenCV tells less about what
is wrong with a file, and may print it; so what could be wrong is looked for before, and such files go to Pillow, too.
"""

from __future__ import annotations

import zlib
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

Pixels = NDArray[np.uint8]

_HARMLESS = frozenset(
    {
        b"IHDR", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"pHYs", b"tIME", b"bKGD", b"sBIT",
        b"tEXt", b"zTXt", b"iTXt",
    }
)  # fmt: skip
"""PNG chunks that change no pixel: not tRNS (transparency) or acTL (animation). Texts may hold EXIF, see below."""
_TURNED = (b"eXIf", b"exif", b"XML:com.adobe.xmp")
"""What a PNG holds that says how it is turned: a chunk, or the names of texts."""


def decode_rgb(picture: Image.Image, content: bytes) -> Pixels | None:
    """Decode a plain file as RGB.

    Args:
        picture: the file as Pillow opened it, its pixels not yet decoded.
        content: all bytes of the file.

    Returns:
        RGB uint8 (H,W,3); None if the file is not plain.
    """
    return _decode(content, cv2.IMREAD_COLOR_RGB) if picture.mode in {"RGB", "L"} and _plain(picture, content) else None


def decode_grey(picture: Image.Image, content: bytes) -> Pixels | None:
    """Decode a plain grey PNG. A JPEG is no index mask and is not taken.

    Args:
        picture: the file as Pillow opened it, its pixels not yet decoded.
        content: all bytes of the file.

    Returns:
        uint8 (H,W); None if the file is not plain.
    """
    plain = picture.mode == "L" and picture.format == "PNG" and _plain(picture, content)
    return _decode(content, cv2.IMREAD_GRAYSCALE) if plain else None


def _decode(content: bytes, how: int) -> Pixels | None:
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(content, np.uint8), how | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # it has limits of its own
        return None
    return cast("Pixels | None", pixels)


def _plain(picture: Image.Image, content: bytes) -> bool:
    if picture.format == "PNG":
        return _plain_png(content)
    if picture.format == "JPEG":
        # libjpeg fills what is cut off with grey; the marker of the end tells that nothing is.
        return content.endswith(b"\xff\xd9") and picture.getexif().get(ExifTags.Base.Orientation, 1) == 1
    return False


def _plain_png(content: bytes) -> bool:
    """Whether all chunks are whole and harmless, and a channel has 8 bits."""
    try:
        kinds = _chunks(content)
    except ValueError:
        return False
    return kinds <= _HARMLESS and content[24] == 8 and not may_be_turned(content)


def may_be_turned(content: bytes) -> bool:
    """Whether a PNG may say that it is to be shown turned.

    Args:
        content: all bytes of the file.

    Returns:
        Whether there is EXIF or XMP in it.
    """
    return any(mark in content for mark in _TURNED)


def check_png(content: bytes) -> None:
    """Compare the chunks of a PNG with their checksums; Pillow does not look at those of the pixels.

    Args:
        content: The bytes of a file; one of another format is left alone.

    Raises:
        ValueError: A chunk is damaged or cut off.
    """
    if content.startswith(b"\x89PNG"):
        _chunks(content)


def _chunks(content: bytes) -> set[bytes]:
    """The kinds of a PNG's chunks; ValueError where one is not what its checksum says."""
    offset, kinds = 8, set[bytes]()
    view = memoryview(content)
    while b"IEND" not in kinds:
        if offset + 12 > len(content):
            raise ValueError("its end is missing")
        size, kind = int.from_bytes(view[offset : offset + 4]), bytes(view[offset + 4 : offset + 8])
        checksum = view[offset + 8 + size : offset + 12 + size]
        if zlib.crc32(view[offset + 4 : offset + 8 + size]) != int.from_bytes(checksum):
            raise ValueError(f"its chunk {kind.decode('ascii', 'replace')} is not what its checksum says")
        kinds.add(kind)
        offset += 12 + size
    return kinds
