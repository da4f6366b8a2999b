"""Reading image and mask files: what comes out, and what a user is told about a file that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch.utils.data import DataLoader

from segdistill.core.classes import Classes, distinct_colors
from segdistill.core.errors import DataError
from segdistill.data.base import Sample
from segdistill.data.pairs import FilePairs
from segdistill.data.reading import read_image, read_mask
from segdistill.data.values import LabelValues

HEIGHT, WIDTH = 12, 20
SUFFIXES = [".png", ".jpg", ".webp", ".tif", ".bmp"]


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture
def indices() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 3, (HEIGHT, WIDTH), np.uint8)


@pytest.fixture
def image(tmp_path: Path, pixels: NDArray[np.uint8]) -> Path:
    path = tmp_path / "street.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def mask(tmp_path: Path, indices: NDArray[np.uint8]) -> Path:
    path = tmp_path / "street_mask.png"
    Image.fromarray(indices).save(path)
    return path


def _pairs(image: Path, mask: Path, *, void: tuple[int, ...] = ()) -> FilePairs:
    classes = Classes(names=("road", "car", "tree"), colors=distinct_colors(3))
    return FilePairs([(image, mask)], classes, LabelValues.of_indices(3, void))


def _says(*parts: object) -> str:
    """A pattern for a message that holds all `parts`, in this order."""
    return "(?s)" + ".*".join(re.escape(str(part)) for part in parts)


def test_a_pair_becomes_a_sample(
    image: Path, mask: Path, pixels: NDArray[np.uint8], indices: NDArray[np.uint8]
) -> None:
    dataset = _pairs(image, mask)
    sample = dataset[0]
    assert len(dataset) == 1
    assert sample.name == "street"
    assert sample.image.dtype == sample.label.dtype == torch.uint8
    assert np.array_equal(sample.image.permute(1, 2, 0).numpy(), pixels)
    assert np.array_equal(sample.label.numpy(), indices)


# --- Images ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA", "P", "1"])
def test_every_kind_of_png_has_three_channels(tmp_path: Path, pixels: NDArray[np.uint8], mode: str) -> None:
    path = tmp_path / f"{mode}.png"
    picture = Image.fromarray(pixels).convert(mode)
    picture.save(path)
    opened = read_image(path)
    assert opened.dtype == torch.uint8
    assert np.array_equal(opened.permute(1, 2, 0).numpy(), np.asarray(picture.convert("RGB")))


def test_transparency_is_dropped_and_the_colors_stay(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    path = tmp_path / "glass.png"
    Image.fromarray(np.dstack([pixels, pixels[..., 0]])).save(path)
    assert np.array_equal(read_image(path).permute(1, 2, 0).numpy(), pixels)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_every_kind_of_jpeg_has_three_channels(tmp_path: Path, mode: str) -> None:
    path = tmp_path / f"{mode}.jpg"
    Image.new("RGB", (WIDTH, HEIGHT), (180, 180, 180)).convert(mode).save(path, quality=100)
    opened = read_image(path)
    assert opened.shape == (3, HEIGHT, WIDTH)
    assert (opened.int() - 180).abs().max() <= 3


def test_a_16_bit_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((HEIGHT, WIDTH), 40_000, np.uint16)).save(path)
    with pytest.raises(DataError, match=r"deep\.png has more than 8 bits"):
        read_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_a_rotated_picture_is_turned_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    _check_upright(tmp_path, orientation, suffix)


def test_a_rotated_webp_is_turned_upright(tmp_path: Path) -> None:
    _check_upright(tmp_path, 6, ".webp")


def _check_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    """Four quarters of different colors must lie where Pillow puts them."""
    path = tmp_path / f"turned{suffix}"
    quarters = np.array([[[230, 20, 20], [20, 230, 20]], [[20, 20, 230], [230, 230, 230]]], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(quarters.repeat(24, 0).repeat(40, 1)).save(path, exif=exif, quality=100)
    with Image.open(path) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    opened = read_image(path).permute(1, 2, 0).numpy()
    assert opened.shape == upright.shape == ((48, 80, 3) if orientation <= 4 else (80, 48, 3))
    assert np.abs(opened[6::12, 6::12].astype(int) - upright[6::12, 6::12]).max() <= 8


def test_the_mask_of_a_rotated_photo_is_as_high_as_it_is_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a telephone held upright
    Image.new("RGB", (40, 24)).save(tmp_path / "phone.jpg", exif=exif)
    Image.new("L", (24, 40)).save(tmp_path / "phone_mask.png")
    sample = _pairs(tmp_path / "phone.jpg", tmp_path / "phone_mask.png")[0]
    assert sample.image.shape[1:] == sample.label.shape == (40, 24)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_image_is_named(tmp_path: Path, mask: Path, pixels: NDArray[np.uint8], suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=_says("image", path, f"{path.stat().st_size} bytes")):
        _pairs(path, mask)[0]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"<html>404 Not Found</html>"], ids=["empty", "web page"])
def test_what_is_no_image_is_named(tmp_path: Path, mask: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"not{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=_says("image", path, f"{len(content)} bytes")):
        _pairs(path, mask)[0]


def test_a_truncated_image_is_named_from_a_worker_process_too(image: Path, mask: Path) -> None:
    image.write_bytes(image.read_bytes()[:100])
    with pytest.raises(DataError, match=_says(image)):
        _read_in_a_worker(_pairs(image, mask))


def test_a_png_with_a_damaged_byte_is_named(image: Path, mask: Path) -> None:
    """Read in a worker: there are decoders that take the process down with such a file."""
    _damage(image)
    with pytest.raises(DataError, match=_says(image)):
        _read_in_a_worker(_pairs(image, mask))


def _read_in_a_worker(dataset: FilePairs) -> list[list[Sample]]:
    return list(DataLoader(dataset, num_workers=1, collate_fn=list))  # type: ignore[arg-type]  # any map will do


def _damage(path: Path) -> None:
    """Flip one bit in the middle of the file, among the compressed pixels."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# --- Masks ----------------------------------------------------------------------------------------------------------


def test_a_palette_mask_gives_its_indices_and_not_its_colors(tmp_path: Path, indices: NDArray[np.uint8]) -> None:
    path = tmp_path / "palette.png"
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette([128, 64, 128, 70, 70, 70, 220, 20, 60])
    picture.save(path)
    assert np.array_equal(read_mask(path), indices)


def test_a_mask_of_one_bit_holds_0_and_1(tmp_path: Path, indices: NDArray[np.uint8]) -> None:
    path = tmp_path / "bits.png"
    Image.fromarray(indices == 2).save(path)
    assert np.array_equal(read_mask(path), (indices == 2).astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_mask_of_colors_is_refused(tmp_path: Path, image: Path, mode: str) -> None:
    path = tmp_path / "painted.png"
    Image.new(mode, (WIDTH, HEIGHT)).save(path)
    with pytest.raises(DataError, match=_says(path, "color", mode, "class indices")):
        _pairs(image, path)[0]


def test_a_mask_of_another_size_is_refused_with_both_sizes(tmp_path: Path, image: Path) -> None:
    path = tmp_path / "small.png"
    Image.new("L", (WIDTH // 2, HEIGHT // 2)).save(path)
    with pytest.raises(DataError, match=_says(path, "10x6", "20x12")):
        _pairs(image, path)[0]


def test_a_mask_that_lies_on_its_side_is_refused(tmp_path: Path, image: Path) -> None:
    path = tmp_path / "side.png"
    Image.new("L", (HEIGHT, WIDTH)).save(path)
    with pytest.raises(DataError, match=_says("12x20", "20x12")):
        _pairs(image, path)[0]


@pytest.mark.parametrize("value", [3, 11, 254])
def test_a_value_that_is_no_class_is_refused(image: Path, mask: Path, indices: NDArray[np.uint8], value: int) -> None:
    indices[4, 5] = value
    Image.fromarray(indices).save(mask)
    with pytest.raises(DataError, match=_says(mask, f"value {value};", "0..2", "255")):
        _pairs(image, mask)[0]


def test_void_values_become_255_and_the_rest_stays(image: Path, mask: Path, indices: NDArray[np.uint8]) -> None:
    indices[0], indices[1], indices[2] = 11, 200, 255
    Image.fromarray(indices).save(mask)
    label = _pairs(image, mask, void=(11, 200))[0].label
    assert label.dtype == torch.uint8
    assert (label[:3] == 255).all()
    assert np.array_equal(label[3:].numpy(), indices[3:])


def test_a_class_can_be_declared_void(image: Path, mask: Path, indices: NDArray[np.uint8]) -> None:
    label = _pairs(image, mask, void=(0,))[0].label.numpy()
    assert np.array_equal(label, np.where(indices == 0, 255, indices))


@pytest.mark.parametrize("content", [b"", b"<html>404 Not Found</html>"], ids=["empty", "web page"])
def test_what_is_no_mask_is_named(image: Path, mask: Path, content: bytes) -> None:
    mask.write_bytes(content)
    with pytest.raises(DataError, match=_says("mask", mask, f"{len(content)} bytes")):
        _pairs(image, mask)[0]


def test_a_truncated_mask_is_named(image: Path, mask: Path) -> None:
    mask.write_bytes(mask.read_bytes()[:-30])
    with pytest.raises(DataError, match=_says("mask", mask)):
        _pairs(image, mask)[0]


def test_a_mask_with_a_damaged_byte_is_named(image: Path, mask: Path) -> None:
    _damage(mask)
    with pytest.raises(DataError, match=_says("mask", mask)):
        _pairs(image, mask)[0]


# --- Missing files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["image", "mask"])
def test_a_missing_file_is_found_when_the_data_set_is_made(image: Path, mask: Path, which: str) -> None:
    lost = image if which == "image" else mask
    lost.unlink()
    with pytest.raises(DataError, match=_says("1 of 2 files", lost)):
        _pairs(image, mask)


@pytest.mark.parametrize("which", ["image", "mask"])
def test_a_file_that_goes_missing_later_is_named(image: Path, mask: Path, which: str) -> None:
    dataset = _pairs(image, mask)
    lost = image if which == "image" else mask
    lost.unlink()
    with pytest.raises(DataError, match=_says(f"No {which} file", lost)):
        dataset[0]


def test_a_data_set_without_pairs_is_refused() -> None:
    with pytest.raises(DataError, match="holds no image"):
        FilePairs([], Classes(names=("a", "b"), colors=distinct_colors(2)), LabelValues.of_indices(2))
