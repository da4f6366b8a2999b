"""A second crop pasted over the first: the same in image, label and cached maps, settled by the position."""

import numpy as np
import pytest
import torch

from segdistill.core.classes import IGNORE_INDEX, UNLABELED, Classes, distinct_colors
from segdistill.data.augment import Augment
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.loading import Share, training_batches
from segdistill.data.mixing import class_mix, cut_mix, paste
from segdistill.data.stream import Stream

CROP = (24, 32)


class Flat(SegmentationDataset):
    """Image i is of one color, 10 * i, and its left half of class 0, its right of class 1 + i."""

    classes = Classes(names=tuple("abcdefghi"), colors=distinct_colors(9))

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Sample:
        label = torch.zeros(CROP, dtype=torch.uint8)
        label[:, CROP[1] // 2 :] = 1 + index
        return Sample(torch.full((3, *CROP), 10 * index, dtype=torch.uint8), label, str(index))


def stream(how: str | None, share: float = 1.0, targets=None, seed: int = 0) -> Stream:
    augment = Augment(crop=CROP, scale=(1.0, 1.0), photometric=False, mix=how, mix_share=share)
    return Stream(Flat(), augment, seed, targets)


def sources(image: torch.Tensor) -> torch.Tensor:
    """Which image each pixel is of."""
    return image[0] // 10


@pytest.mark.parametrize("how", ["cutmix", "classmix"])
def test_image_label_and_cached_maps_come_from_the_same_crop(how):
    def targets(index, sample, view):  # as the teacher's logits, at a quarter of the size
        return torch.full((2, CROP[0] // 4, CROP[1] // 4), float(index))

    mixed = 0
    for position in range(40):
        sample = stream(how, targets=targets)[position]
        source = sources(sample.image)
        right = sample.label > 0
        assert torch.equal(sample.label[right].long() - 1, source[right].long())
        assert torch.equal(sample.target[0], source[2::4, 2::4].float())
        mixed += len(source.unique()) == 2
    assert mixed > 20  # the second image may be the first one


def test_a_share_of_the_crops_is_mixed_and_the_others_are_as_without():
    plain = [stream(None)[position] for position in range(200)]
    mixed = [stream("cutmix", 0.25)[position] for position in range(200)]
    same = sum(
        torch.equal(a.image, b.image) and torch.equal(a.label, b.label) for a, b in zip(plain, mixed, strict=True)
    )
    assert 140 < same < 175  # three quarters, and some that were pasted over themselves


def test_a_rectangle_covers_a_quarter_to_half_of_the_crop():
    for number in range(200):
        inside = cut_mix((60, 80), torch.Generator().manual_seed(number))
        rows, columns = inside.any(1).sum(), inside.any(0).sum()
        assert inside.sum() == rows * columns
        assert 0.24 <= float(inside.float().mean()) <= 0.51


def test_half_of_the_classes_are_pasted_and_no_void():
    label = torch.tensor([[0, 0, 1, 1], [2, 3, 4, IGNORE_INDEX]], dtype=torch.uint8)
    for number in range(30):
        area = class_mix(label, torch.Generator().manual_seed(number))
        assert len(label[area].unique()) == 2
        assert not area[1, 3]
        for value in label[area].unique():
            assert bool(area[label == value].all())


@pytest.mark.parametrize("value", [IGNORE_INDEX, UNLABELED, 3])
def test_a_crop_without_two_classes_gives_a_rectangle(value):
    area = class_mix(torch.full((20, 20), value, dtype=torch.uint8), torch.Generator().manual_seed(1))
    assert 0.2 < float(area.float().mean()) < 0.55


def test_workers_and_micro_batches_give_the_same_crops():
    def images(share: Share, workers: int) -> np.ndarray:
        batches = training_batches(stream("classmix", 0.5), share, start=3, stop=6, workers=workers)
        return torch.cat([batch.image for batch in batches]).numpy()

    assert np.array_equal(images(Share(4), 0), images(Share(4, grad_accumulation=2), 1))


def test_maps_with_fewer_cells_go_by_the_pixel_at_their_centre():
    area = torch.zeros(4, 4, dtype=torch.bool)
    area[2:, 2:] = True
    assert paste(torch.ones(1, 2, 2), torch.zeros(1, 2, 2), area)[0].tolist() == [[0, 0], [0, 1]]
