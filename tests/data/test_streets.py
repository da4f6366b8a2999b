"""The generated streets: what a user of the data set relies on."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.errors import DataError
from segdistill.data.base import Sample
from segdistill.data.datasets.streets import CAR, PERSON, POLE, SKY, TREE, Streets


@pytest.fixture(scope="module")
def scenes() -> list[Sample]:
    return list(Streets(count=40))


def _same(a: Sample, b: Sample) -> bool:
    return torch.equal(a.image, b.image) and torch.equal(a.label, b.label)


def test_a_scene_is_the_same_each_time_and_in_each_instance() -> None:
    size = (130, 160)  # one that is drawn each time
    dataset = Streets(count=8, size=size)
    last = dataset[7]
    assert _same(last, dataset[7])
    assert _same(last, Streets(count=20, size=size)[7]), "neither the count nor the order of access changes a scene"


def test_what_is_done_to_a_sample_does_not_reach_the_next() -> None:
    first = Streets(size=(32, 48))[7]
    kept = first.image.clone(), first.label.clone()
    first.image.zero_()
    first.label.zero_()
    again = Streets(size=(32, 48))[7]
    assert torch.equal(again.image, kept[0])
    assert torch.equal(again.label, kept[1])


def test_seed_split_and_index_all_change_the_scene() -> None:
    scenes = [Streets()[3], Streets()[4], Streets(seed=1)[3], Streets(split="val")[3]]
    for i, a in enumerate(scenes):
        for b in scenes[i + 1 :]:
            assert not torch.equal(a.label, b.label)


def test_train_and_val_share_no_scene() -> None:
    train = {sample.label.numpy().tobytes() for sample in Streets(count=30)}
    val = {sample.label.numpy().tobytes() for sample in Streets(split="val", count=30)}
    assert len(train) == len(val) == 30
    assert not train & val


@pytest.mark.parametrize("size", [(96, 128), (32, 32), (64, 64), (97, 131), (40, 200), (192, 256)])
def test_shapes_and_types_at_any_size(size: tuple[int, int]) -> None:
    sample = Streets(size=size, count=3)[2]
    assert sample.image.shape == (3, *size)
    assert sample.label.shape == size
    assert sample.image.dtype == sample.label.dtype == torch.uint8
    assert sample.image.is_contiguous()


def test_the_same_scene_at_another_size_is_the_same_street() -> None:
    small, large = Streets(size=(96, 128))[5].label, Streets(size=(192, 256))[5].label[::2, ::2]
    assert (small == large).float().mean() > 0.9


def test_names_and_lengths() -> None:
    assert Streets()[12].name == "streets-train-00012"
    assert Streets(split="val")[0].name == "streets-val-00000"
    assert (len(Streets()), len(Streets(split="val")), len(Streets(count=5))) == (600, 100, 5)


def test_labels_hold_classes_and_void_only(scenes: list[Sample]) -> None:
    assert len(Streets.classes) == 8
    values = set(torch.cat([sample.label.flatten() for sample in scenes]).unique().tolist())
    assert values == {*range(8), IGNORE_INDEX}


def test_every_class_has_its_share(scenes: list[Sample]) -> None:
    labels = torch.stack([sample.label for sample in scenes])
    for index, name in enumerate(Streets.classes.names):
        mask = labels == index
        assert mask.float().mean() > 0.005, f"{name} is too rare"
        assert mask.flatten(1).any(1).float().mean() > 0.7, f"{name} is missing from too many scenes"
    void = (labels == IGNORE_INDEX).float().mean()
    assert 0.02 < void < 0.06


def test_poles_are_thin_and_unbroken(scenes: list[Sample]) -> None:
    widths, tallest = [], []
    for sample in scenes:
        pole = (sample.label == POLE).numpy().astype(np.int8)
        edges = np.diff(np.pad(pole, ((0, 0), (1, 1))), axis=1)
        widths += (np.argwhere(edges < 0)[:, 1] - np.argwhere(edges > 0)[:, 1]).tolist()
        tallest.append(_longest_run_down(pole))
    assert np.median(widths) <= 2, "most of a pole is a shaft of one or two pixels"
    assert np.mean(np.array(tallest) >= 12) > 0.8, "most scenes show a pole without gaps"


def _longest_run_down(mask: np.ndarray[Any, np.dtype[np.int8]]) -> int:
    run, longest = np.zeros(mask.shape[1], np.int64), 0
    for row in mask:
        run = (run + 1) * row
        longest = max(longest, int(run.max()))
    return longest


def test_things_and_stuff_have_sensible_places(scenes: list[Sample]) -> None:
    """Sky is above, road below: on average, and in that order in every scene."""
    for sample in scenes:
        rows = {index: (sample.label == index).nonzero()[:, 0].float().mean() for index in (0, 1, 2)}
        assert rows[0] < rows[1] < rows[2]


def test_color_does_not_give_the_class_away(scenes: list[Sample]) -> None:
    """One class has many colors from scene to scene, and the nearest mean color guesses most pixels wrong."""
    images = torch.stack([sample.image for sample in scenes]).permute(0, 2, 3, 1).float()
    labels = torch.stack([sample.label for sample in scenes])
    for index in (SKY, TREE, CAR, PERSON):
        means = torch.stack([i[m].mean(0) for i, m in zip(images, labels == index, strict=True) if m.any()])
        assert means.std(0).mean() > 15
    centres = torch.stack([images[labels == index].mean(0) for index in range(8)])
    labelled = labels != IGNORE_INDEX
    guess = torch.cdist(images[labelled], centres).argmin(1)
    recall = torch.stack([(guess[labels[labelled] == index] == index).float().mean() for index in range(8)])
    assert recall.mean() < 0.5


def test_iteration_stops_at_the_end() -> None:
    dataset = Streets(count=2, size=(32, 32))
    assert len(list(dataset)) == 2
    for index in (2, -1):
        with pytest.raises(IndexError):
            dataset[index]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "trian"}, "Did you mean 'train'"),
        ({"size": (31, 128)}, "at least 32"),
        ({"size": (96.0, 128)}, "whole numbers"),
        ({"size": (96, 128, 3)}, "(height, width)"),
        ({"size": 96}, "(height, width)"),
        ({"count": 0}, "at least 1"),
        ({"seed": -1}, "0 or larger"),
    ],
)
def test_bad_arguments_are_explained(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        Streets(**arguments)
