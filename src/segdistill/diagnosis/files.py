"""Looking at one pair of files: all that is wrong with it, and what its mask holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from PIL import Image
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.errors import DataError
from segdistill.core.pixels import PixelFormat
from segdistill.data.alignment import Exif, alignment_fault, check_size
from segdistill.data.base import Sample
from segdistill.data.formats import Header
from segdistill.data.pairs import FilePairs
from segdistill.data.reading import load_image, pixel_limit, read_mask
from segdistill.data.values import Raw, packed
from segdistill.diagnosis.soft_edges import values_between

Size = tuple[int, int]
BANDS = "bands: "
TURNED = "turned by EXIF"
GREY_SEEN = 8  # of a palette mask, how many of its colors are named as grey values


@dataclass
class PairReport:
    """What is seen of one pair of files.

    Attributes:
        image: path of the image file.
        mask: path of the mask file, if there is one.
        size: (H,W) of the image, if it could be read.
        raw: mask value -> pixels; None without a mask that can be read.
        faults: errors that reading the pair would raise.
        kinds: what each file is, as "mask PNG grey 8-bit".
        forms: what is unusual and read rightly all the same.
        turned: whether the image is turned by EXIF and only the recipe says that its mask is, too.
        soft: values of the mask that smoothing made (`soft_edges`).
        painted: the share of the pixels of a color mask that have a color of the class table.
        grey: raw value -> what a tool that reads the mask's palette as grey takes it for; empty where that is the same.
        pixels: a digest of the image's size and pixels, by which the same picture is known in another file.
    """

    image: str
    mask: str | None = None
    size: Size | None = None
    raw: dict[int, int] | None = None
    faults: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    forms: list[str] = field(default_factory=list)
    turned: bool = False
    soft: list[int] = field(default_factory=list)
    painted: float | None = None
    grey: dict[int, int] = field(default_factory=dict)
    pixels: bytes | None = None


def report_pair(data: FilePairs, index: int) -> PairReport:
    """Read both files of a pair to the last pixel; nothing that is wrong with one hides what is with the other.

    Args:
        data: the data set.
        index: of the pair.

    Returns:
        What is seen; faults are part of it, none is raised.
    """
    image_path, mask_path = data.pairs[index]
    seen, header = report_image(image_path, data.exif, data.pixels)
    if mask_path is None:
        return seen
    seen.mask = str(mask_path)
    try:
        raw, mask_header = data.load_mask(index)
        seen.kinds.append(f"mask {mask_header}")
        seen.raw = histogram(raw)
        seen.soft = [] if data.values.colors else values_between(raw)
        seen.grey = {} if data.values.colors or mask_header.mode != "P" else _as_grey(mask_path, seen.raw)
        if header is not None and seen.size is not None:
            fault = alignment_fault(header, mask_header, raw.shape, image_path, mask_path, data.exif)
            if fault:
                raise DataError(fault)
            check_size(raw, seen.size, mask_path)
            same = header.orientation == mask_header.orientation or raw.shape != header.size
            seen.turned = data.exif == "apply" and not same
    except DataError as error:
        seen.faults.append(str(error))
        if seen.raw is None:
            seen.painted = _painted(mask_path, data.classes.colors)
    return seen


def report_image(path: Path, exif: Exif, pixels: PixelFormat) -> tuple[PairReport, Header | None]:
    """Read an image to the last pixel.

    Args:
        path: of its file.
        exif: whether it is turned upright by its EXIF tag.
        pixels: what it must be.

    Returns:
        What is seen, faults among it; and what the file says of itself, None if it can't be read.
    """
    seen = PairReport(str(path))
    try:
        image, header = load_image(path, exif, pixels)
    except DataError as error:
        seen.faults.append(str(error))
        return seen, None
    seen.size = (image.shape[1], image.shape[2])
    seen.pixels = _digest(image)
    seen.kinds.append(f"image {header}")
    seen.forms += _image_forms(header) if pixels.plain else []
    return seen, header


def report_sample(sample: Sample) -> PairReport:
    """What there is to see of a sample that comes from no file.

    Args:
        sample: whose label is counted.

    Returns:
        Size and label values.
    """
    height, width = sample.label.shape
    raw = histogram(sample.label.numpy())
    return PairReport(sample.name, sample.name, (height, width), raw, pixels=_digest(sample.image))


def histogram(raw: Raw) -> dict[int, int]:
    """How often each value occurs.

    Args:
        raw: of any shape.

    Returns:
        Value -> pixels, without those that don't occur.
    """
    if raw.dtype == np.uint8:
        counts = cv2.calcHist([cast(Any, raw)], [0], None, [256], [0, 256]).reshape(-1)
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, counts = np.unique(raw, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def luminance(color: tuple[int, int, int]) -> int:
    """Grey value of a color, rounded as Pillow and OpenCV do: 0.299 R + 0.587 G + 0.114 B.

    Args:
        color: red, green, blue, 0 to 255 each.

    Returns:
        0 to 255.
    """
    red, green, blue = color
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16


def _digest(image: Tensor) -> bytes:
    """Of size and pixels; without a copy of an image as reading leaves it, a pixel's channels beside each other."""
    held = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    digest = hashlib.blake2b(held.data, digest_size=16)
    digest.update(repr(held.shape).encode())
    return digest.digest()


def _image_forms(header: Header) -> list[str]:
    forms = [] if header.mode == "RGB" else [f"{header.mode} image"]
    if header.spare:
        forms = [f"{BANDS}{header.bands}"]
    if header.orientation != 1:
        forms.append(TURNED)
    return forms


def _as_grey(path: Path, raw: Mapping[int, int]) -> dict[int, int]:
    """What a tool that reads a palette mask as grey would take its values for; nothing where that is the same."""
    with pixel_limit(), Image.open(path) as picture:
        if picture.mode != "P":
            return {}
        flat = picture.getpalette() or []
    palette = [(flat[at], flat[at + 1], flat[at + 2]) for at in range(0, len(flat) - 2, 3)]
    grey = {value: luminance(palette[value]) for value in raw if value < len(palette) and value != IGNORE_INDEX}
    return grey if any(value != seen for value, seen in grey.items()) else {}


def _painted(path: Path, colors: tuple[tuple[int, int, int], ...]) -> float | None:
    """The share of the pixels of a color file that have one of `colors`; None if it is no readable color file."""
    try:
        with pixel_limit(), Image.open(path) as picture:
            if picture.mode not in {"RGB", "RGBA"}:
                return None
        values = read_mask(path, colors=True)
    except (DataError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    return float(np.isin(values, [packed(color) for color in colors]).mean())
