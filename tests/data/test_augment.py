"""Augmentation: image and label move as one, sizes and ranges hold, and the colors change as they are said to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from made_samples import COLUMNS, HEIGHT, ROWS, WIDTH, noise, sample_of, seeded
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX
from segdistill.data.augment import Augment

PAD = torch.tensor([124, 116, 104], dtype=torch.uint8)


def _track(augment: Augment, seed: int) -> tuple[Tensor, Tensor]:
    """Where each pixel of the result comes from, as told by the image and by the label: two (2,h,w), row and column.

    The image holds 4 x row and 4 x column of each pixel; one label holds the row, another the column.
    """
    image = torch.stack([4 * ROWS, 4 * COLUMNS, 0 * ROWS]).to(torch.uint8)
    (moved, row), (again, column) = (augment(sample_of(label, image), seeded(seed)) for label in (ROWS, COLUMNS))
    assert torch.equal(moved, again), "the crop does not depend on labels as varied as these"
    return moved[:2] / 4, torch.stack([row, column])


# --- Size and padding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crop", [(32, 32), (33, 47), (64, 20), (7, 101), (1, 1)])
@pytest.mark.parametrize("size", [(40, 60), (20, 20), (97, 31)])
def test_the_result_is_as_large_as_the_crop(crop: tuple[int, int], size: tuple[int, int]) -> None:
    augment = Augment(crop=crop)
    for seed in range(8):
        image, label = augment(noise(*size), seeded(seed))
        assert image.shape == (3, *crop)
        assert label.shape == crop
        assert image.dtype == label.dtype == torch.uint8


def test_padding_is_void_and_only_where_the_image_ends() -> None:
    """At scale 1 the image ends at its own size; it has no void pixel and no pixel of the padding's color."""
    image = torch.full((3, HEIGHT, WIDTH), 200, dtype=torch.uint8)
    augment = Augment(crop=(HEIGHT + 9, WIDTH + 5), scale=(1.0, 1.0), photometric=False)
    padded, label = augment(sample_of(ROWS % 3, image), seeded(0))
    assert (label[:HEIGHT, :WIDTH] < 3).all()
    assert (padded[:, :HEIGHT, :WIDTH] == 200).all()
    assert (label[HEIGHT:] == IGNORE_INDEX).all()
    assert (label[:, WIDTH:] == IGNORE_INDEX).all()
    assert (padded[:, label == IGNORE_INDEX] == PAD[:, None]).all()


def test_padding_follows_the_scale() -> None:
    for seed in range(40):
        padded, label = Augment(crop=(70, 100), photometric=False)(noise(HEIGHT, WIDTH), seeded(seed))
        inside = label != IGNORE_INDEX
        height, width = int(inside.any(1).sum()), int(inside.any(0).sum())
        assert inside[:height, :width].all()
        assert int(inside.sum()) == height * width
        assert (padded[:, ~inside] == PAD[:, None]).all()
        _, label = Augment(crop=(20, 30))(noise(HEIGHT, WIDTH), seeded(seed))
        assert (label != IGNORE_INDEX).all(), "at half its size the image still fills this crop"


# --- Chance ---------------------------------------------------------------------------------------------------------


def test_the_generator_alone_decides() -> None:
    sample, augment = noise(HEIGHT, WIDTH), Augment(crop=(32, 32))
    before, state = sample.image.clone(), torch.get_rng_state()
    first, other, again = (augment(sample, seeded(seed)) for seed in (3, 4, 3))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(state, torch.get_rng_state()), "the global generator is left alone"
    assert torch.equal(before, sample.image), "and so is the sample"


def test_label_values_are_never_invented() -> None:
    """Neighbours such as 3 and 200 must not blend into a class between them."""
    sample = noise(HEIGHT, WIDTH, (3, 7, 200, IGNORE_INDEX))
    values: set[int] = set()
    for seed in range(60):
        values |= set(Augment(crop=(32, 48))(sample, seeded(seed))[1].unique().tolist())
    assert values == {3, 7, 200, IGNORE_INDEX}


# --- Geometry -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.5, 0.77, 1.0, 1.3, 2.0])
def test_image_and_label_show_the_same_place(factor: float) -> None:
    """To within half a pixel of the sample and rounding: the image is interpolated, the label takes the nearest."""
    augment = Augment(crop=(28, 36), scale=(factor, factor), photometric=False)
    for seed in range(30):
        image, label = _track(augment, seed)
        seen = (label != IGNORE_INDEX).all(0)
        assert seen.any()
        assert (image - label)[:, seen].abs().max() <= 0.5 + 0.3


def test_at_scale_one_a_crop_is_a_piece_of_the_sample() -> None:
    """Exactly, wherever it lies; it can lie anywhere; and without flips it is never mirrored."""
    augment = Augment(crop=(32, 50), scale=(1.0, 1.0), flip=False, photometric=False)
    corners: set[tuple[int, int]] = set()
    for seed in range(600):
        image, label = _track(augment, seed)
        top, left = label[:, 0, 0].tolist()
        corners.add((top, left))
        expected = torch.stack([ROWS, COLUMNS])[:, top : top + 32, left : left + 50]
        assert torch.equal(label, expected.to(torch.uint8))
        assert torch.equal(image, expected.float())
    assert corners <= {(top, left) for top in range(9) for left in range(11)}
    assert len(corners) > 0.95 * 9 * 11


def test_half_of_the_results_are_mirrored_image_and_label_alike() -> None:
    augment = Augment(crop=(HEIGHT, WIDTH), scale=(1.0, 1.0), photometric=False)
    mirrored = 0
    for seed in range(200):
        image, label = _track(augment, seed)
        assert torch.equal(image, label.float())
        assert torch.equal(label[0], ROWS), "never upside down"
        mirrored += torch.equal(label[1], COLUMNS.flip(1))
        assert torch.equal(label[1], COLUMNS) or torch.equal(label[1], COLUMNS.flip(1))
    assert 70 < mirrored < 130


@pytest.mark.parametrize("scale", [(0.5, 2.0), (1.0, 1.5)])
def test_the_scale_stays_in_its_range_and_uses_all_of_it(scale: tuple[float, float]) -> None:
    """A crop larger than any result shows the whole image, so its size tells the factor."""
    low, high = scale
    augment = Augment(crop=(2 * HEIGHT, 2 * WIDTH), scale=scale, photometric=False)
    factors = []
    for seed in range(300):
        inside = augment(noise(HEIGHT, WIDTH), seeded(seed))[1] != IGNORE_INDEX
        height, width = int(inside.any(1).sum()), int(inside.any(0).sum())
        assert abs(height / HEIGHT - width / WIDTH) < 0.5 / HEIGHT + 0.5 / WIDTH + 1e-6, "the aspect is kept"
        factors.append(width / WIDTH)
    span = high - low
    assert low <= min(factors) < low + 0.05 * span
    assert high - 0.05 * span < max(factors) <= high
    assert abs(np.mean(factors) - (low + high) / 2) < 0.06 * span


# --- The category-ratio rule ----------------------------------------------------------------------------------------

CORNER, WINDOW, SIDE, DRAWS = 20, 24, 64, 11


def _chance(accepted: Callable[[float], bool]) -> float:
    """The share of all windows whose share of class 1 is `accepted`."""
    overlap = np.clip(CORNER - np.arange(SIDE - WINDOW + 1), 0, None)
    shares = np.outer(overlap, overlap) / WINDOW**2
    return float(np.mean([accepted(share) for share in shares.flat]))


def _corner_shares(max_class_share: float, count: int = 400) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The share of class 1 in `count` crops of an image that is class 0 to 90 %, and class 1 in a corner."""
    label = torch.zeros(SIDE, SIDE)
    label[:CORNER, :CORNER] = 1
    augment = Augment(
        crop=(WINDOW, WINDOW), scale=(1.0, 1.0), max_class_share=max_class_share, flip=False, photometric=False
    )
    return np.array([float((augment(sample_of(label), seeded(seed))[1] == 1).float().mean()) for seed in range(count)])


def test_a_crop_of_mostly_one_class_is_drawn_again() -> None:
    """As often as eleven draws let us expect: the first and ten more."""
    once = _chance(lambda share: 0.25 < share < 0.75)
    ruled, free = (np.mean((shares > 0.25) & (shares < 0.75)) for shares in (_corner_shares(0.75), _corner_shares(1.0)))
    assert ruled > 5 * once
    assert ruled > 1.5 * free
    assert abs(ruled - (1 - (1 - once) ** DRAWS)) < 0.1


def test_a_share_of_one_leaves_the_crop_to_chance() -> None:
    """No class holds more than all of the pixels, so nothing is to be drawn again."""
    assert abs(np.mean(_corner_shares(1.0) == 0) - _chance(lambda share: share == 0)) < 0.1


@pytest.mark.parametrize("value", [0, IGNORE_INDEX])
def test_an_image_of_one_class_still_gives_a_crop(value: int) -> None:
    image, label = Augment(crop=(16, 16))(sample_of(torch.full((SIDE, SIDE), value)), seeded(0))
    assert image.shape == (3, 16, 16)
    assert (label == value).all()


def test_void_does_not_count_as_a_class() -> None:
    """Nine tenths void, and two classes of equal share: every first crop is taken, whatever the limit."""
    label = torch.full((SIDE, SIDE), IGNORE_INDEX)
    label[:, ::20], label[:, 10::20] = 0, 1
    image = torch.arange(SIDE * SIDE).remainder(251).to(torch.uint8).view(1, SIDE, SIDE).repeat(3, 1, 1)
    strict, lax = (Augment(crop=(40, 40), scale=(1.0, 1.0), max_class_share=limit) for limit in (0.75, 0.99))
    for seed in range(50):
        assert torch.equal(*(augment(sample_of(label, image), seeded(seed))[0] for augment in (strict, lax)))


# --- Colors --------------------------------------------------------------------------------------------------------


def test_colors_change_without_moving_anything() -> None:
    sample = noise(HEIGHT, WIDTH)
    plain, colored = (Augment(crop=(32, 32), photometric=photometric) for photometric in (False, True))
    changed = 0
    for seed in range(40):
        (image, label), (other, other_label) = (augment(sample, seeded(seed)) for augment in (plain, colored))
        assert torch.equal(label, other_label)
        changed += not torch.equal(image, other)
    assert changed > 30
