"""Data sets that are handed in: what their pictures and masks may be, and which of their samples have a mask."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segdistill.core.errors import DataError
from segdistill.core.pixels import PixelFormat
from segdistill.data import DatasetConfig, labeled_part, with_unlabeled
from segdistill.data.live import LiveData, LiveSamples, as_pixels, live_data
from segdistill.data.reading import read_image

CLASSES = ["a", "b"]
SIZE = (24, 40)


class Partly:
    """Samples of which the first four have a mask; it counts how often each is read."""

    classes = CLASSES

    def __init__(self) -> None:
        self.reads: Counter[int] = Counter()

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        self.reads[index] += 1
        return np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.uint8) if index < 4 else None


class Telling(Partly):
    """As `Partly`, and says itself which samples have a mask."""

    def is_labeled(self, index: int) -> bool:
        return index < 4


def only(image: Any, mask: Any) -> LiveSamples:
    """A data set of one sample."""
    live: LiveData = live_data({"train": [(image, mask)], "val": [(image, mask)], "classes": CLASSES})
    return live.split("train")


def photo(orientation: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture with a dark left half, as stored, that asks to be turned."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[:, size[1] // 2 :] = 200
    picture = Image.fromarray(pixels)
    picture.getexif()[274] = orientation
    return picture


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_is_handed_in_reads_as_its_file(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"photo.{suffix}"
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(path, exif=exif)
    assert torch.equal(as_pixels(Image.open(path), "image 0"), read_image(path))


def test_a_deep_picture_is_turned_where_the_network_takes_its_range(tmp_path: Path) -> None:
    form = PixelFormat(1, ((0.0, 4095.0),))
    exif = Image.Exif()
    exif[274] = 8
    Image.fromarray((np.arange(960).reshape(SIZE) * 4).astype(np.uint16)).save(tmp_path / "deep.png", exif=exif)
    turned = as_pixels(Image.open(tmp_path / "deep.png"), "image 0", form)
    assert torch.equal(turned, read_image(tmp_path / "deep.png", pixels=form))


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_a_picture_of_more_than_8_bits_is_refused_as_its_file_is(tmp_path: Path, kind: type) -> None:
    picture = Image.fromarray((np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) * 16).astype(kind))
    picture.save(tmp_path / "deep.tif")
    with pytest.raises(DataError) as file:
        read_image(tmp_path / "deep.tif")
    with pytest.raises(DataError) as live:
        as_pixels(picture, "image 0")
    assert str(live.value).removeprefix("Image 0 ") == str(file.value).removeprefix(f"Image {tmp_path / 'deep.tif'} ")


def test_only_an_upright_mask_fits_a_photo_that_is_turned() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[:, SIZE[1] // 2 :] = 1
    upright = np.rot90(mask, -1).copy()
    sample = only(photo(6), upright)[0]
    assert torch.equal(sample.label, (sample.image[0] > 100).to(torch.uint8))
    both = Image.fromarray(mask)
    both.getexif()[274] = 6
    assert torch.equal(only(photo(6), both)[0].label, torch.from_numpy(upright))
    assert only(photo(6), None)[0].image.shape[1:] == SIZE[::-1]
    stored = np.asarray(photo(6))
    assert torch.equal(only(stored, mask)[0].label, torch.from_numpy(mask))


@pytest.mark.parametrize(("orientation", "size"), [(3, SIZE), (6, (24, 24)), (6, SIZE)])
def test_a_mask_that_may_lie_on_the_stored_pixels_is_refused(orientation: int, size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=rf"sample 0 has EXIF orientation {orientation} and its mask 1.*exif_transpose"):
        only(photo(orientation, size), np.zeros(size, np.uint8))[0]


@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2", "u4", "u8", "i8", "?"])
def test_masks_of_any_whole_numbers(kind: str) -> None:
    mask = np.zeros(SIZE, kind)
    mask[0] = 1
    for given in (mask, torch.from_numpy(mask.astype(np.dtype(kind).newbyteorder("=")))):
        label = only(np.zeros((*SIZE, 3), np.uint8), given)[0].label
        assert label.dtype == torch.uint8
        assert torch.equal(label, torch.from_numpy(mask.astype(np.uint8)))


def test_a_deep_mask_with_a_wrong_class_is_refused() -> None:
    with pytest.raises(DataError, match="sample 0 holds 300"):
        only(np.zeros((*SIZE, 3), np.uint8), Image.fromarray(np.full(SIZE, 300, np.uint16)))[0]


def test_samples_without_a_mask_are_for_the_teacher_alone() -> None:
    source = Partly()
    config = DatasetConfig.of(source)
    train = live_data(source).split("train")
    assert [train[index].labeled for index in range(len(train))] == [True] * 3 + [False] * 5
    assert [sample.labeled for sample in map(labeled_part(train).__getitem__, range(3))] == [True] * 3
    assert len(labeled_part(train)) == 3
    mixed = with_unlabeled(train, config)
    assert [mixed.is_labeled(index) for index in range(len(mixed))] == [True] * 3 + [False] * 5


def test_each_sample_is_read_once_to_find_out_whether_it_has_a_mask() -> None:
    source = Partly()
    live = live_data(source)
    for _ in range(2):  # as of a student alone and of a distilled one
        assert len(labeled_part(live.split("train"))) == 3
        assert len(labeled_part(live.split("val"))) == 1
    assert set(source.reads.values()) == {1}
    read = live_data(Partly()).split("train")
    samples = [read[index] for index in range(len(read))]
    assert [read.is_labeled(index) for index in range(len(read))] == [sample.labeled for sample in samples]
    assert set(read.samples.reads.values()) == {1}  # type: ignore[attr-defined]


def test_a_data_set_that_says_which_samples_have_a_mask_is_not_read() -> None:
    source = Telling()
    assert len(labeled_part(live_data(source).split("train"))) == 3
    assert not source.reads
