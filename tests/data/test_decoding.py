"""Files that OpenCV decodes must give what Pillow gives, and what it would misread must not reach it."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

from segdistill.core.errors import DataError
from segdistill.data.datasets.folder import Folder
from segdistill.data.decoding import decode_grey, decode_rgb
from segdistill.data.reading import read_image, read_mask


def _pixels(height: int = 61, width: int = 83) -> NDArray[np.uint8]:
    rng = np.random.default_rng(3)
    smooth = np.add.outer(np.arange(height), np.arange(width))[..., None] + rng.integers(0, 60, 3)
    return ((smooth * [1, 2, 3] + rng.integers(0, 9, (height, width, 3))) % 256).astype(np.uint8)


def _is_fast(path: Path, how: object = decode_rgb) -> bool:
    content = path.read_bytes()
    with Image.open(BytesIO(content)) as picture:
        return how(picture, content) is not None  # type: ignore[operator]


def _pillow(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _text(key: str, value: str) -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    text.add_itxt(key, value)
    return text


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "options",
    [{}, {"icc_profile": b"0" * 200, "dpi": (72, 72)}, {"gamma": 0.45}, {"pnginfo": _text("date:create", "2015")}],
    ids=["bare", "profile and density", "gamma", "a date as text"],
)
def test_plain_png_is_bit_equal(tmp_path: Path, mode: str, options: dict[str, object]) -> None:
    path = tmp_path / "plain.png"
    Image.fromarray(_pixels()).convert(mode).save(path, **options)
    assert _is_fast(path)
    assert np.array_equal(read_image(path).permute(1, 2, 0).numpy(), _pillow(path))
    if mode == "L":
        assert _is_fast(path, decode_grey)
        assert np.array_equal(read_mask(path), np.asarray(Image.open(path)))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "options", [{"quality": 90}, {"quality": 60, "progressive": True}, {"subsampling": 0}], ids=str
)
def test_plain_jpeg_is_equal_within_rounding(tmp_path: Path, mode: str, options: dict[str, object]) -> None:
    path = tmp_path / "plain.jpg"
    Image.fromarray(_pixels()).convert(mode).save(path, **options)
    assert _is_fast(path)
    assert np.abs(read_image(path).permute(1, 2, 0).numpy().astype(int) - _pillow(path)).max() <= 2


def test_the_published_files_are_equal(samples: Path) -> None:
    images = [*samples.rglob("*leftImg8bit.png"), *sorted(samples.rglob("*.jpg"))]
    assert len(images) > 10
    for path in images:
        difference = np.abs(read_image(path).permute(1, 2, 0).numpy().astype(int) - _pillow(path)).max()
        assert difference <= (0 if path.suffix == ".png" else 2), path
    masks = [*samples.rglob("*labelIds.png")]
    assert masks
    for path in masks:
        assert _is_fast(path, decode_grey)
        assert np.array_equal(read_mask(path), np.asarray(Image.open(path)))


@pytest.mark.parametrize("place", ["before the pixels", "after the pixels", "as text", "as XMP"])
def test_a_turned_png_is_left_to_pillow(tmp_path: Path, place: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    plain = BytesIO()
    Image.fromarray(_pixels()).save(plain, "PNG")
    content, path = plain.getvalue(), tmp_path / "turned.png"
    if place == "as text":
        text = PngImagePlugin.PngInfo()
        text.add_text("Raw profile type exif", f"\nexif\n{len(body) + 6:8d}\n{(b'Exif' + bytes(2) + body).hex()}\n")
        Image.fromarray(_pixels()).save(path, pnginfo=text)
    elif place == "as XMP":
        Image.fromarray(_pixels()).save(path, pnginfo=_text("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>'))
    else:
        cut = 33 if place == "before the pixels" else len(content) - 12
        path.write_bytes(content[:cut] + _chunk(b"eXIf", body) + content[cut:])
    assert not _is_fast(path)
    assert read_image(path).shape == (3, 83, 61)
    assert np.array_equal(read_image(path).permute(1, 2, 0).numpy(), _pillow(path))


def test_what_is_not_plain_is_as_pillow_has_it(tmp_path: Path) -> None:
    see_through = tmp_path / "key.png"
    Image.fromarray(_pixels()).save(see_through, transparency=(1, 2, 3))
    few_bits = tmp_path / "bits.png"
    Image.fromarray(_pixels()[..., 0] // 64).convert("P").save(few_bits, bits=2)
    for path in (see_through, few_bits):
        assert not _is_fast(path)
        assert np.array_equal(read_image(path).permute(1, 2, 0).numpy(), _pillow(path))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_cut_file_is_an_error_and_prints_nothing(
    tmp_path: Path, suffix: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(_pixels()).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match="Can't read image"):
        read_image(path)
    assert capfd.readouterr() == ("", "")


def test_a_huge_picture_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", b"") + _chunk(b"IEND", b""))
    for read in (read_image, read_mask):
        with pytest.raises(DataError, match=r"huge\.png is refused .*400000000 pixels.*SEGDISTILL_MAX_PIXELS"):
            read(path)


def test_names_with_blanks_and_accents_and_links_in_circles(tmp_path: Path) -> None:
    root = tmp_path / "été 日本"
    for folder, mode in (("images", "RGB"), ("masks", "L")):
        (root / folder / "vue d'hier").mkdir(parents=True)
        (root / folder / "encore").symlink_to(root / folder)  # leads back up
        for index in range(5):
            Image.new(mode, (8, 6)).save(root / folder / "vue d'hier" / f"photo n° {index}.png")
    dataset = Folder(root=root, split="train", classes=["a", "b"])
    assert len(dataset) == 4
    assert dataset[0].name == "photo n° 0"
    looped = root / "images" / "vue d'hier" / "photo n° 0.png"
    looped.unlink()
    looped.symlink_to(looped)
    with pytest.raises(DataError, match="link that leads nowhere"):
        dataset[0]


@pytest.mark.parametrize("mode", ["L", "P"])
def test_one_flipped_bit_in_a_mask_never_changes_a_label_silently(tmp_path: Path, mode: str) -> None:
    """Each bit of each byte: decoders differ in what they check, and some pixels change without a decoder's word."""
    path = tmp_path / "mask.png"
    drawn = np.random.default_rng(0).integers(0, 2, (4, 8)).astype(np.uint8)
    picture = Image.fromarray(drawn, mode)
    if mode == "P":
        picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.save(path)
    content = path.read_bytes()
    for place in range(8, len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            label = read_mask(path)
        except DataError:
            continue
        assert np.array_equal(label, drawn), f"byte {place}"
