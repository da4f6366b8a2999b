"""Reading images that are not RGB of 8 bits: any number of channels, more bits, .npy and TIFF of any layout."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from segdistill.core.errors import DataError
from segdistill.core.pixels import PixelFormat
from segdistill.data.decoding import check_png
from segdistill.data.formats import Header, header_of, more_bits, npy_header, tiff_header

Stored = NDArray[Any]
"""An image as a file stores it: (H,W,C), of any numbers."""

_LAYOUTS = {"YX": (), "YXS": (0, 1, 2), "SYX": (1, 2, 0), "YXC": (0, 1, 2), "CYX": (1, 2, 0)}
"""Axes that tifffile names (S and C are channels) -> their order as (H,W,C)."""

_BANDS = frozenset({"L", "LA", "RGB", "RGBA", "I;16", "I;16B"})
"""Modes of Pillow whose bands are the channels of a file."""


def stored_pixels(content: bytes, path: Path) -> tuple[Stored, Header] | None:
    """The numbers of an .npy or TIFF file, all its channels.

    Args:
        content: All bytes of the file.
        path: Of the file, for the message.

    Returns:
        (H,W,C) and what the file says of itself; None for a file of another format.

    Raises:
        DataError: The layout is none of one image.
        ValueError: The file is damaged.
    """
    array = npy_header(content, channels=True)
    if array is not None:
        pixels: Stored = np.load(BytesIO(content), allow_pickle=False)
        return pixels.reshape(*array.size, array.bands), array
    header = tiff_header(content)
    if header is None:
        return None
    pixels = _tiff_pixels(content, path, header)
    return pixels, replace(header, mode=str(pixels.dtype))


def _tiff_pixels(content: bytes, path: Path, header: Header) -> Stored:
    try:
        import tifffile
    except ImportError as error:
        raise DataError(
            f"Image {path} is a TIFF, of which tifffile reads all channels: pip install 'segdistill[tiff]'. Or save it "
            "as .npy, (H,W,C)."
        ) from error
    if header.inverted:
        raise DataError(f"Image {path} counts from white (TIFF, WhiteIsZero). Save it so that 0 is black.")
    try:
        with tifffile.TiffFile(BytesIO(content)) as file:
            series, photometric = file.series[0], file.pages.first.photometric
            axes, shape, parts = str(series.axes), tuple(series.shape), len(file.series)
            palette = photometric == tifffile.PHOTOMETRIC.PALETTE
            pixels: Stored | None = series.asarray() if parts == 1 and axes in _LAYOUTS and not palette else None
    except Exception as error:  # each codec has its own
        raise ValueError(f"{error or type(error).__name__}") from error
    if pixels is None:
        raise DataError(
            f"Image {path} is a TIFF of {parts} image(s) with the axes {axes}, {shape}, {photometric!s}; expected "
            f"one of height, width and channels (axes {', '.join(_LAYOUTS)}), whose metadata says so. Save it as one "
            "page with its channels as samples, or as .npy, (H,W,C)."
        )
    return pixels[..., None] if pixels.ndim == 2 else np.transpose(pixels, _LAYOUTS[axes])


def picture_pixels(picture: Image.Image, content: bytes, path: Path) -> tuple[Stored, Header]:
    """The numbers of a file that Pillow opens, all its channels.

    Args:
        picture: As Pillow opened it, its pixels not yet decoded.
        content: All bytes of the file.
        path: Of the file, for the message.

    Returns:
        (H,W,C) and what the file says of itself.

    Raises:
        DataError: Its samples are no channels, as those of a palette, or there are several pages.
        ValueError: The file is damaged.
    """
    header = header_of(picture, content)
    halved = header.bits > 8 and picture.mode == "LA"  # which Pillow would take for bytes, and OpenCV for color
    if picture.mode not in _BANDS or header.pages > 1 or halved:
        raise DataError(
            f"Image {path} has the mode {picture.mode}, {header.bits} bits and {header.pages} page(s); expected one of "
            f"{', '.join(sorted(_BANDS))}. Save it as TIFF, or as .npy, (H,W,C)."
        )
    check_png(content)
    if header.bits > 8 and header.bands in (3, 4):  # Pillow would take them for bytes
        bands: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        order = cv2.COLOR_BGR2RGB if header.bands == 3 else cv2.COLOR_BGRA2RGBA
        return np.asarray(cv2.cvtColor(bands, order)), header
    pixels: Stored = np.array(picture)
    return pixels.reshape(*pixels.shape[:2], -1), header


def upright(pixels: Stored, orientation: int) -> Stored:
    """An image as its EXIF tag says that it is seen.

    Args:
        pixels: (H,W,C) as stored.
        orientation: The tag, 1 to 8.

    Returns:
        (H,W,C), or (W,H,C).
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def as_image(stored: Stored, pixels: PixelFormat, what: str) -> Tensor:
    """The channels of an image as networks of a data set take them.

    With ranges, a stored value v becomes (v - low) / (high - low), cut off at 0 and 1.

    Args:
        stored: (H,W,C), as a file stores it.
        pixels: What the data set says that its images are.
        what: The image is called in errors, as "Image FILE".

    Returns:
        (C,H,W): bytes as they are stored; float32 in [0,1] of ranges.

    Raises:
        DataError: It has other channels, more bits without a range, or values that are no numbers.
    """
    channels = stored.shape[2]
    if channels != pixels.channels:
        raise DataError(
            f"{what} has {channels} channel(s); expected {pixels.channels}, as data.channels says. Set "
            f"data.channels={channels} if all images have so many, or take the file off."
        )
    if pixels.ranges is None:
        if stored.dtype != np.uint8:
            raise DataError(f"{what} {more_bits(str(stored.dtype), 8 * stored.dtype.itemsize)}")
        return torch.from_numpy(np.array(stored, order="C")).permute(2, 0, 1)
    if stored.dtype.kind not in "uif" or (stored.dtype.kind == "f" and not np.isfinite(stored).all()):
        raise DataError(f"{what} holds {stored.dtype} with values that are no finite numbers. Fill them, as with 0.")
    if stored.dtype == np.uint8 and max(high for _, high in pixels.ranges) > 255:  # one among others of 16 bits
        raise DataError(
            f"{what} has 8 bits a channel, 0 to 255; expected more, as data.range goes to "
            f"{max(high for _, high in pixels.ranges):g}: it would be all but black. Save it with the values of the "
            "others, or take the file off."
        )
    low, high = (torch.tensor(side, dtype=torch.float64) for side in zip(*pixels.ranges, strict=True))
    values = torch.from_numpy(stored.astype(np.float64, order="C"))
    # In float64, so that the whole numbers of a 32-bit file keep all their digits until they are scaled.
    scaled = ((values - low) / (high - low)).clamp(0, 1).float()
    return scaled.permute(2, 0, 1)
