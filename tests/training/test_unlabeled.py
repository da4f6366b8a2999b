"""Void is known not to matter; an image without a mask is not known, and its teacher may say what it shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import segdistill
from segdistill.core.classes import IGNORE_INDEX, UNLABELED
from segdistill.core.errors import DataError
from segdistill.data import DatasetConfig, create_dataset, labeled_part, with_unlabeled
from segdistill.data.augment import Augment
from segdistill.data.balance import class_weights
from segdistill.data.loading import Share, training_batches
from segdistill.data.stream import Stream
from segdistill.methods import create_method, method_names
from segdistill.models.build import build, probe
from segdistill.models.spec import NetworkSpec
from segdistill.recipe.recipe import load_recipe
from segdistill.training.distiller import Distiller
from segdistill.training.task import TeacherOutline, make_task

SMALL = {"backbone": "test_resnet", "head": "fcn", "channels": 8, "output_stride": 16, "dropout": 0.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 56, 3), dtype=np.uint8)
        path = tmp_path / "more" / f"part{number % 2}" / f"photo{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "more"


def _stream(folder: Path, share: float, seed: int = 0) -> Stream:
    config = DatasetConfig(name="streets", size=[32, 48], count=5, extra={"images": [str(folder)], "share": share})
    data = with_unlabeled(create_dataset(config, "train"), config)
    return Stream(data, Augment(crop=(32, 48), scale=(0.5, 1.0)), seed)


@pytest.mark.parametrize(("share", "extra"), [(0.5, 20), (0.25, 10), (0.3, 12)])
def test_batches_hold_the_share_of_unlabelled_images(folder: Path, share: float, extra: int) -> None:
    stream = _stream(folder, share)
    names = [stream[position].name for position in range(40)]
    assert sum(name.startswith("photo") for name in names) == extra
    # Both parts are gone through by themselves, shuffled: every image once an epoch of its part.
    labelled = [name for name in names if not name.startswith("photo")]
    assert len({*labelled[:5]}) == 5
    assert {name for name in names if name.startswith("photo")} == {"photo0", "photo1", "photo2"}


def test_their_pixels_are_unlabelled_and_what_is_beyond_them_void(folder: Path) -> None:
    stream = _stream(folder, 0.5)
    samples = [stream[position] for position in range(20)]
    values = {
        value for sample in samples if sample.name.startswith("photo") for value in sample.label.unique().tolist()
    }
    assert values == {UNLABELED, IGNORE_INDEX}
    values = {
        value for sample in samples if sample.name.startswith("streets") for value in sample.label.unique().tolist()
    }
    assert UNLABELED not in values


def test_two_processes_and_workers_take_the_same_images(folder: Path) -> None:
    stream = _stream(folder, 0.5)
    whole = [batch.names for batch in training_batches(stream, Share(8), start=0, stop=3, workers=0)]
    halves = [
        [batch.names for batch in training_batches(stream, Share(8, rank, 2), start=0, stop=3, workers=rank)]
        for rank in (0, 1)
    ]
    assert [(*a, *b) for a, b in zip(*halves, strict=True)] == whole


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, message in (("empty", "holds no images"), ("gone", "gone")):
        config = DatasetConfig(name="streets", extra=str(tmp_path / name))
        with pytest.raises(DataError, match=message):
            with_unlabeled(create_dataset(config, "train"), config)


def _terms(method: str, label: torch.Tensor) -> tuple[dict[str, torch.Tensor], Distiller]:
    torch.manual_seed(0)
    student, teacher = build(NetworkSpec(**SMALL), 4), build(NetworkSpec(**SMALL), 4)
    example = {"student": probe(student), "teacher": probe(teacher), "num_classes": 4}
    distiller = Distiller(student, [create_method(method, **example)], teacher).train()
    image = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    return distiller(image, label), distiller


@pytest.mark.parametrize("method", sorted(method_names()))
def test_the_teacher_speaks_of_unlabelled_images_and_not_of_void(method: str) -> None:
    sums = {}
    for value in (UNLABELED, IGNORE_INDEX):
        terms, distiller = _terms(method, torch.full((2, 64, 64), value, dtype=torch.uint8))
        assert terms.pop("task") == 0
        terms.pop("auxiliary", None)
        torch.stack(list(terms.values())).sum().backward()
        norms = [parameter.grad.norm() for parameter in distiller.student.parameters() if parameter.grad is not None]
        assert all(value.isfinite() for value in terms.values())
        sums[value] = float(torch.stack(norms).sum()) if norms else 0.0
    assert sums[UNLABELED] > 0
    assert sums[IGNORE_INDEX] == pytest.approx(0, abs=1e-5)


def test_a_labelled_image_beside_an_unlabelled_one_is_learned_as_alone() -> None:
    label = torch.randint(0, 4, (2, 64, 64), dtype=torch.uint8)
    void, open_ = label.clone(), label.clone()
    void[1], open_[1] = IGNORE_INDEX, UNLABELED
    assert _terms("kd", void)[0]["task"] == _terms("kd", open_)[0]["task"]
    assert _terms("kd", void)[0]["kd"] != _terms("kd", open_)[0]["kd"]


def test_distil_with_unlabeled_images(tiny: tuple[str, ...], folder: Path, tmp_path: Path) -> None:
    words = [*tiny, "kd", "steps=4", "teacher.train.steps=1", f"data.extra={folder}", f"out={tmp_path / 'run'}"]
    segdistill.distill(*words, quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["kd"] > 0 for line in lines if line["kind"] == "train" and line["step"] > 1)


def test_a_network_alone_is_trained_on_the_labelled_part(tiny: tuple[str, ...]) -> None:
    recipe = load_recipe(*tiny, "kd", "data.labeled=5", "class_balance=0.5")
    alone = make_task(recipe, "student")
    assert len(alone.data) == 5
    assert all(alone.data[index].labeled for index in range(5))
    everything = create_dataset(recipe.data, "train")
    assert len(everything) == 12
    distilled = make_task(recipe, "student", teacher=TeacherOutline(probe(alone.network)))
    assert len(distilled.data) == 12
    assert len(make_task(load_recipe(*tiny, "data.labeled=0"), "student").data) == 12
    # Both weigh the classes by the labels that there are.
    weights = [class_weights(labeled_part(data), 0.5) for data in (alone.data, distilled.data)]
    assert weights[0] is not None
    assert torch.equal(*weights)
