"""Reading image and mask files, with errors that name the file."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from segdistill.core.errors import DataError
from segdistill.core.pixels import RGB_BYTES, PixelFormat
from segdistill.data import raw_values
from segdistill.data.alignment import Exif, check_pair
from segdistill.data.channels import as_image, picture_pixels, stored_pixels, upright
from segdistill.data.decoding import check_png, decode_grey, decode_rgb
from segdistill.data.formats import FORMATS, Header, Role, header_of, npy_header, refusal, tiff_header, undecodable
from segdistill.data.values import Raw

LIMIT = "SEGDISTILL_MAX_PIXELS"
"""The environment variable that moves the limit of `largest_image`."""

_UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def read_image(path: Path, *, exif: Exif = "apply", pixels: PixelFormat = RGB_BYTES) -> Tensor:
    """Read an image file. In memory a pixel's channels lie together.

    Args:
        path: an 8-bit image, grey or colored, of a suffix in `IMAGE_SUFFIXES`.
        exif: whether it is turned upright by its EXIF tag; "auto" is "apply".
        pixels: what it must be; the default is what any 8-bit image can be read as.

    Returns:
        RGB uint8 (3,H,W); or what `channels.as_image` makes of other `pixels`.

    Raises:
        DataError: the file is missing, broken, too large, or not of those that `formats.ACCEPTED` takes.
    """
    return load_image(path, exif, pixels)[0]


def read_mask(path: Path, *, colors: bool = False, exif: Exif = "apply") -> Raw:
    """Read a mask file's raw values: indices of a grey or palette file, or of an array. Colors never pass for indices.

    Args:
        path: of the mask.
        colors: take the file as painted in colors.
        exif: whether it is turned by its own EXIF tag.

    Returns:
        (H,W): uint8; uint16 of a deep file; uint32, each pixel 0xRRGGBB, with `colors`.

    Raises:
        DataError: the file is missing, broken, too large, or not of those that `formats.ACCEPTED` takes.
    """
    return load_mask(path, colors, exif)[0]


def read_pair(image_path: Path, mask_path: Path, *, colors: bool = False, exif: Exif = "apply") -> tuple[Tensor, Raw]:
    """Read an image and its mask, which must lie on each other.

    A photo with an EXIF orientation shows another picture than its pixels as stored, and nothing in the files tells on
    which of the two its mask was drawn, unless their sizes differ.

    Args:
        image_path: the image.
        mask_path: its mask.
        colors: take the mask as painted in colors.
        exif: "apply" turns both by their own tags, "ignore" neither, "auto" applies where the mask's tag or size tells
            that this is right.

    Returns:
        RGB uint8 (3,H,W) and raw values (H,W).

    Raises:
        DataError: as of `read_image` and `read_mask`; the sizes differ; or the mask of a turned image is not certain.
    """
    image, header = load_image(image_path, exif)
    raw, mask_header = load_mask(mask_path, colors, exif)
    check_pair(image, header, raw, mask_header, image_path, mask_path, exif)
    return image, raw


def header_of_image(path: Path) -> Header:
    """What an image file says of itself; its pixels are not decoded.

    Args:
        path: of the image.

    Returns:
        Its header.

    Raises:
        DataError: the file is missing or broken.
    """
    try:
        content = path.read_bytes()
        many = npy_header(content, channels=True) or tiff_header(content)
        if many is not None and (many.format == "NPY" or many.bands > 3 or many.bits > 8):  # Pillow opens no such file
            return many
        with _open(content) as picture:
            return header_of(picture, content)
    except _UNREADABLE as error:
        raise _unreadable("image", path, error) from error


def load_image(path: Path, exif: Exif, pixels: PixelFormat = RGB_BYTES) -> tuple[Tensor, Header]:
    """As `read_image`, with what the file says of itself."""
    try:
        content = path.read_bytes()
        plain = pixels.plain and npy_header(content, channels=True) is None
        return decode_image(content, path, exif) if plain else decode_channels(content, path, exif, pixels)
    except OSError as error:
        raise _unreadable("image", path, error) from error


def decode_image(content: bytes, path: Path, exif: Exif) -> tuple[Tensor, Header]:
    """As `load_image`, of a file's bytes, which may come from a table; `path` is for the message."""
    try:
        with _open(content) as picture:
            header = _accepted(picture, content, path, "image")
            pixels = decode_rgb(picture, content)
            if pixels is None:
                check_png(content)
                pixels = np.array(_turned(picture, header, exif).convert("RGB"))
            return torch.from_numpy(pixels).permute(2, 0, 1), header
    except _UNREADABLE as error:
        raise _unreadable("image", path, error) from error


def decode_channels(content: bytes, path: Path, exif: Exif, pixels: PixelFormat) -> tuple[Tensor, Header]:
    """As `decode_image`, of images that are not RGB of 8 bits."""
    try:
        size = npy_header(content, channels=True) or tiff_header(content)
        if size is not None:
            _check_pixels(size)
        decoded = stored_pixels(content, path)
        if decoded is None:
            with _open(content) as picture:
                decoded = picture_pixels(picture, content, path)
        stored, header = decoded
        if exif != "ignore":
            stored = upright(stored, header.orientation)
        return as_image(stored, pixels, f"Image {path}"), header
    except _UNREADABLE as error:
        raise _unreadable("image", path, error) from error


def load_mask(path: Path, colors: bool, exif: Exif) -> tuple[Raw, Header]:
    """As `read_mask`, with what the file says of itself."""
    try:
        return decode_mask(path.read_bytes(), path, colors, exif)
    except OSError as error:
        raise _unreadable("mask", path, error) from error


def decode_mask(content: bytes, path: Path, colors: bool, exif: Exif) -> tuple[Raw, Header]:
    """As `load_mask`, of a file's bytes, which may come from an archive; `path` is for the message."""
    role: Role = "painted mask" if colors else "mask"
    try:
        array = npy_header(content)
        if array is not None:
            if colors:
                raise DataError(f"Mask {path} {refusal(array, role)}")
            _check_pixels(array)
            return raw_values.whole(np.load(BytesIO(content), allow_pickle=False), path), array
        with _open(content) as picture:
            header = _accepted(picture, content, path, role)
            plain = None if colors else decode_grey(picture, content)
            if plain is not None:
                return plain, header
            check_png(content)
            if colors:
                return raw_values.packed_colors(_turned(picture, header, exif), path), header
            return raw_values.indices(_turned(picture, header, exif), header, path), header
    except _UNREADABLE as error:
        raise _unreadable("mask", path, error) from error


def _open(content: bytes) -> Image.Image:
    """The file as Pillow opens it; of a TIFF with too many bands, which Pillow complains of itself, our own words."""
    tiff = tiff_header(content)
    if tiff is not None and tiff.bands > 6:
        raise ValueError(undecodable(tiff))
    try:
        with pixel_limit():
            return Image.open(BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:
        if tiff is not None:
            raise ValueError(undecodable(tiff)) from error
        raise


def _accepted(picture: Image.Image, content: bytes, path: Path, role: Role) -> Header:
    header = header_of(picture, content)
    fault = refusal(header, role)
    if fault:
        raise DataError(f"{'Image' if role == 'image' else 'Mask'} {path} {fault}")
    return header


def _check_pixels(header: Header) -> None:
    pixels = header.size[0] * header.size[1]
    if pixels > largest_image():
        raise Image.DecompressionBombError(f"({pixels} pixels)")


_BACK = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
"""Orientation -> the transposition that undoes what it asks for, as Pillow numbers them."""


def _turned(picture: Image.Image, header: Header, exif: Exif) -> Image.Image:
    """The picture upright, or as stored with "ignore". Pillow turns a TIFF by itself when it decodes it."""
    if header.format == "TIFF":
        picture.load()
        back = _BACK.get(header.orientation)
        return picture if exif != "ignore" or back is None else picture.transpose(Image.Transpose(back))
    return picture if exif == "ignore" else ImageOps.exif_transpose(picture)


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
    if size and isinstance(error, UnidentifiedImageError):
        what = f"it is not an image of a known format ({', '.join(FORMATS)})"
    return DataError(f"Can't read {kind} {path} ({size} bytes): {what}. Replace the file, or take it off the list.")


def largest_image() -> int:
    """Pixels that an image or mask may have; larger ones are refused by their header. Pillow's limit for both."""
    setting = os.environ.get(LIMIT, "")
    return int(setting) if setting.isdecimal() else 2 * (Image.MAX_IMAGE_PIXELS or 0)


@contextlib.contextmanager
def pixel_limit() -> Iterator[None]:
    """While entered, Pillow refuses what is beyond `largest_image`, and warns of nothing below it.

    Yields:
        None.
    """
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = largest_image() // 2 or None  # Pillow warns beyond it and refuses beyond its double
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _pixels(error: Exception) -> str:
    """What Pillow found, of its "Image size (N pixels) exceeds limit ..."."""
    match = re.search(r"\((\d+) pixels\)", str(error))
    return f"{match.group(1)} pixels, " if match else ""
