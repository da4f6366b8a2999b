"""What an image or mask file is, by its header, and which files are taken: one table for all readers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import ExifTags, Image

from segdistill.core.pixels import PixelFormat
from segdistill.data.decoding import may_be_turned

Role = Literal["image", "mask", "painted mask"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
CHANNEL_SUFFIXES = IMAGE_SUFFIXES | {".npy"}
"""Of images that are not RGB of 8 bits."""
MASK_SUFFIXES = IMAGE_SUFFIXES | {".gif", ".npy"}


@dataclass(frozen=True)
class Header:
    """What a file says of itself before a pixel is decoded.

    format: as Pillow calls it, or NPY. mode: Pillow's. bits: of a sample. bands: samples a pixel. spare: of them, those
    that are neither color nor alpha. pages: of full size. orientation: the EXIF tag, 1 for upright. size: (H,W) as
    stored. lossy: whether the compression changes values. inverted: whether 0 is white (TIFF), so that a sample and
    its brightness disagree. signed: whether 8-bit samples have a sign.
    """

    format: str
    mode: str
    bits: int
    bands: int
    size: tuple[int, int]
    spare: int = 0
    pages: int = 1
    orientation: int = 1
    lossy: bool = False
    inverted: bool = False
    signed: bool = False

    def __str__(self) -> str:
        kind = {"1": "black and white", "L": "grey", "LA": "grey with alpha", "P": "palette"}.get(self.mode, self.mode)
        bands = f", {self.bands} bands" if self.spare else ""
        return f"{self.format} {kind} {self.bits}-bit{bands}"


@dataclass(frozen=True)
class Accepted:
    """What files of a role may be."""

    formats: frozenset[str]
    modes: frozenset[str]
    bits: int
    lossy: bool = False
    inverted: bool = False


_GREY = frozenset({"1", "L", "LA", "P"})
_COLOR = frozenset({"PA", "RGB", "RGBA", "RGBX"})
_LOSSLESS = frozenset({"PNG", "BMP", "DIB", "TIFF", "GIF"})

ACCEPTED: dict[Role, Accepted] = {
    "image": Accepted(
        _LOSSLESS | {"JPEG", "MPO", "WEBP"}, _GREY | _COLOR | {"CMYK", "YCbCr"}, 8, lossy=True, inverted=True
    ),
    "mask": Accepted(_LOSSLESS | {"NPY"}, _GREY | {"I", "I;16", "I;16B", "F"}, 64),
    "painted mask": Accepted(_LOSSLESS | {"WEBP"}, _GREY | _COLOR, 8),
}
"""The table: what each role takes. A lossy mask holds values that nobody drew, whatever they are."""

_LOSSY_TIFF = {6, 7, 33003, 33005, 34712, 34892, 50001, 50002}
"""Compressions of TIFF that can change values: JPEG, JPEG 2000, WebP, JPEG XL."""

_TIFF_TAGS = {254, 256, 257, 258, 259, 262, 274, 277, 338, 339}

FORMATS = sorted(set().union(*(rule.formats for rule in ACCEPTED.values())) - {"NPY", "MPO"})
"""Formats that Pillow is asked to open (an MPO as a JPEG); it knows others, some of which start programs."""


def refusal(header: Header, role: Role) -> str:
    """Why a file of this header is not taken.

    Args:
        header: of the file.
        role: what it is to be.

    Returns:
        What was found, what was expected and what to try; "" if the file is taken.
    """
    rule, is_mask = ACCEPTED[role], role != "image"
    if header.lossy and not rule.lossy:
        return (
            f"is lossy ({header.format}): its values are not those that were drawn, and classes appear at edges that "
            "nobody meant. Export the masks anew, as PNG."
        )
    if header.format not in rule.formats:
        return f"is a {header.format} file; expected {', '.join(sorted(rule.formats))}. Save it as PNG."
    if header.pages > 1:
        return f"holds {header.pages} pages or frames; expected one. Save the one that is meant as a file of its own."
    if header.inverted and not rule.inverted:
        return "counts from white (TIFF, WhiteIsZero): its samples and its brightness disagree. Save it as PNG."
    if header.signed and is_mask:
        return "has 8-bit samples with a sign; expected 0 to 255. Save it as PNG."
    if header.bits > rule.bits and role == "image":
        return more_bits(f"mode {header.mode}", header.bits)
    if header.bits > rule.bits:
        return f"has {header.bits} bits a channel (mode {header.mode}); expected 8. Save it with 8 bits."
    if role != "mask" and header.mode not in rule.modes:  # of an index mask the pixels tell more, see `raw_values`
        return f"has the mode {header.mode}; expected {', '.join(sorted(rule.modes))}. Save it as RGB."
    if header.mode == "LA" and header.bits > 8:
        return "has 16 bits and an alpha channel; expected one channel of class indices. Save it without alpha."
    return ""


def more_bits(kind: str, bits: int) -> str:
    """Why an image of more bits is not taken.

    Args:
        kind: Of its numbers.
        bits: Of one.
    """
    return (
        f"has more than 8 bits a channel ({kind}, {bits} bits); expected 8-bit RGB or grey. Choose what is dark and "
        "what is bright: of your own folder with data.range=[0, 4095], the values that become black and white; or "
        "convert it."
    )


def image_suffixes(pixels: PixelFormat) -> frozenset[str]:
    """The suffixes of image files.

    Args:
        pixels: What the images are.
    """
    return IMAGE_SUFFIXES if pixels.plain else CHANNEL_SUFFIXES


def undecodable(header: Header) -> str:
    """Why a TIFF that Pillow can't open is not read.

    Args:
        header: of the file.

    Returns:
        What was found and expected.
    """
    return (
        f"it is a TIFF of {header.bands} band(s) of {header.bits} bits; only 1 or 3 bands of 8 bits, with alpha, are "
        "read, and masks of one band. Save the bands that are meant; or say what they are, of your own folder, with "
        "data.channels and data.range"
    )


def tiff_header(content: bytes) -> Header | None:
    """The header of a TIFF by its tags, which tell more than Pillow does, also of files that it refuses.

    Args:
        content: all bytes of the file.

    Returns:
        The header; None if the file is not a TIFF.
    """
    if content[:4] not in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return None
    tags, pages = _tiff_pages(content)
    one = {tag: values[0] for tag, values in tags.items() if values}
    depth = max(tags.get(258) or (1,))
    bands, photometric = one.get(277, 1), one.get(262, 0)
    alpha = sum(kind in (1, 2) for kind in tags.get(338, ()))
    return Header(
        format="TIFF",
        mode="",
        bits=depth,
        bands=bands,
        size=(one.get(257, 0), one.get(256, 0)),
        spare=max(0, bands - {2: 3, 5: 4, 6: 3, 8: 3}.get(photometric, 1) - alpha),
        pages=pages,
        orientation=one.get(274, 1) if 1 <= one.get(274, 1) <= 8 else 1,
        lossy=one.get(259, 1) in _LOSSY_TIFF,
        inverted=photometric == 0,
        signed=one.get(339, 1) == 2 and depth <= 8,
    )


def header_of(picture: Image.Image, content: bytes) -> Header:
    """The header of an image file.

    Args:
        picture: the file as Pillow opened it, its pixels not yet decoded.
        content: all bytes of the file.

    Returns:
        What it says of itself.
    """
    tiff = tiff_header(content) if picture.format == "TIFF" else None
    if tiff is not None:
        return replace(tiff, mode=picture.mode, orientation=_orientation(picture))
    orientation = 1
    if picture.format == "PNG":
        bits, bands = content[24], {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(content[25], 0)
        if may_be_turned(content):
            orientation = _orientation(picture)  # decodes the pixels, as the tag may stand behind them
    else:
        bits, bands = int(getattr(picture, "bits", 8)), len(picture.getbands())
        orientation = _orientation(picture)
    pages = 1 if picture.format == "MPO" else int(getattr(picture, "n_frames", 1))  # a photo with its preview
    return Header(
        format=picture.format or "",
        mode=picture.mode,
        bits=bits,
        bands=bands,
        size=(picture.height, picture.width),
        pages=pages,
        orientation=orientation,
        lossy=picture.format in {"JPEG", "MPO"} or (picture.format == "WEBP" and b"VP8L" not in content[:4096]),
    )


def npy_header(content: bytes, *, channels: bool = False) -> Header | None:
    """The header of a NumPy array file.

    Args:
        content: all bytes of the file.
        channels: whether it is an image, (H,W) or (H,W,C); else a mask.

    Returns:
        The header, its mode the type of the array; None if the file is no array.

    Raises:
        ValueError: the header is damaged, or the array holds objects.
    """
    if not content.startswith(b"\x93NUMPY"):
        return None
    file = BytesIO(content)
    version = np.lib.format.read_magic(file)
    read: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(file)
    if len(shape) != 2 and not (channels and len(shape) == 3):
        expected = "(height, width) or (height, width, channels)" if channels else "(height, width)"
        raise ValueError(f"it is an array of shape {tuple(shape)}; expected {expected}")
    if kind.kind not in "buif":
        raise ValueError(f"it is an array of {kind}; expected whole numbers")
    bands = int(shape[2]) if len(shape) == 3 else 1
    return Header("NPY", kind.name, 8 * kind.itemsize, bands, (int(shape[0]), int(shape[1])))


def is_of(path: Path, suffixes: frozenset[str]) -> bool:
    """Whether a file's name ends in one of the suffixes, whatever their case.

    Args:
        path: of the file.
        suffixes: in lower case.

    Returns:
        Whether it does.
    """
    return path.suffix.lower() in suffixes


def _orientation(picture: Image.Image) -> int:
    value = picture.getexif().get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _tiff_pages(content: bytes) -> tuple[dict[int, tuple[int, ...]], int]:
    """The tags of whole numbers of the first page, and how many pages there are but for previews and alpha masks."""
    order: Literal["little", "big"] = "little" if content[:2] == b"II" else "big"
    big = 43 in content[2:4]
    word, count_size, entry = (8, 8, 20) if big else (4, 2, 12)

    def number(start: int, size: int) -> int:
        if start + size > len(content):
            raise ValueError("it is cut off")
        return int.from_bytes(content[start : start + size], order)

    first: dict[int, tuple[int, ...]] | None = None
    pages, at, seen = 0, number(8 if big else 4, word), set[int]()
    while at and at not in seen and len(seen) < 1000:
        seen.add(at)
        tags: dict[int, tuple[int, ...]] = {}
        entries = min(number(at, count_size), 1000)
        for start in range(at + count_size, at + count_size + entries * entry, entry):
            size = {1: 1, 3: 2, 4: 4, 16: 8}.get(number(start + 2, 2), 0)
            if not size or number(start, 2) not in _TIFF_TAGS:
                continue
            count = min(number(start + 4, word), 64)
            place = start + 4 + word
            place = place if size * count <= word else number(place, word)
            tags[number(start, 2)] = tuple(number(place + size * index, size) for index in range(count))
        first = tags if first is None else first
        pages += not (tags.get(254) or (0,))[0] & 5
        at = number(at + count_size + entries * entry, word)
    return first or {}, max(1, pages)
