"""Pictures of the page: which ones, how large, and exact where they are maps."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from segdistill.core.classes import IGNORE_INDEX, unnamed_classes
from segdistill.core.errors import DataError
from segdistill.reporting.page import gallery
from segdistill.reporting.page.encoding import classes_uri, mask_uri, photo, shrunk
from segdistill.reporting.page.gallery import encoded
from segdistill.reporting.page.images import SIDE, Picture, image_miou

NAMES = ("student alone", "kd", "teacher")


def noise(index: int, side: int = SIDE) -> Picture:
    """What compresses worst: every pixel another class."""
    random = np.random.default_rng(index)
    maps = [random.integers(150, size=(side * 3 // 4, side), dtype=np.uint8) for _ in range(4)]
    pixels = torch.from_numpy(random.integers(256, size=(3, side * 3 // 4, side), dtype=np.uint8))
    predicted = dict(zip(NAMES, maps[1:], strict=True))
    edges = (maps[0] % 2).astype(np.uint8)
    return Picture(f"{index}", "shown", photo(pixels, SIDE), maps[0], edges, predicted, dict.fromkeys(NAMES, 1.0))


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_pictures_that_compress_badly_shrink_until_the_page_can_hold_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "BUDGET", 500_000)
    images = encoded([noise(0), noise(1)], NAMES, unnamed_classes(150))["images"]
    assert len(str(images)) < 520_000
    width, height = images[0]["width"], images[0]["height"]
    assert 160 <= width < SIDE
    assert decoded(images[0]["label"]).size == (width, height) == decoded(images[0]["photo"]).size
    with pytest.raises(DataError, match="6 images of 3 networks are too many"):
        encoded([noise(index, 320) for index in range(6)], NAMES, unnamed_classes(150))


def test_maps_keep_their_classes_and_masks_are_clear_where_they_are_not() -> None:
    label = torch.tensor([[0, 1, 149, IGNORE_INDEX]], dtype=torch.uint8).repeat_interleave(3, 0)
    classes = unnamed_classes(150)
    picture = decoded(classes_uri(shrunk(label, SIDE), classes))
    assert np.array_equal(np.asarray(picture), label.numpy())
    colors = [classes.colors[0], classes.colors[1], classes.colors[149], (255, 255, 255)]
    assert np.asarray(picture.convert("RGB"))[0].tolist() == [list(color) for color in colors]
    mask = decoded(mask_uri(np.array([[0, 1, 1]], dtype=np.uint8), (1, 2, 3))).convert("RGBA")
    assert np.asarray(mask)[0].tolist() == [[0, 0, 0, 0], [1, 2, 3, 255], [1, 2, 3, 255]]


def test_a_map_made_smaller_holds_no_class_that_was_not_there_and_stays_in_place() -> None:
    label = torch.zeros(900, 1200, dtype=torch.uint8)
    label[:, 600:] = 7
    small = shrunk(label, 300)
    assert small.shape == (225, 300)
    assert (small[:, :150] == 0).all()
    assert (small[:, 150:] == 7).all()


def test_the_score_of_an_image_is_the_mean_over_the_classes_in_it() -> None:
    label = torch.tensor([[3, 3, 5, IGNORE_INDEX]], dtype=torch.uint8)
    predicted = torch.tensor([[3, 5, 5, 9]], dtype=torch.uint8)
    assert image_miou(predicted, label) == pytest.approx(50.0)
    assert np.isnan(image_miou(predicted, torch.full_like(label, IGNORE_INDEX)))


def test_classes_that_are_no_part_of_the_mean_are_none_of_that_of_an_image() -> None:
    label = torch.tensor([[0, 0, 0, 3, 3, 5]], dtype=torch.uint8)
    predicted = torch.tensor([[0, 0, 0, 3, 5, 5]], dtype=torch.uint8)
    assert image_miou(predicted, label) == pytest.approx(200 / 3)
    assert image_miou(predicted, label, [0, 200]) == pytest.approx(50.0)
    assert np.isnan(image_miou(predicted[:, :3], label[:, :3], [0]))
