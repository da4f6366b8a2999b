"""Real files of the published data sets: labels, names and colors against reads that share no code with ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segdistill.data import DatasetConfig, SegmentationDataset, create_dataset

Split = Literal["train", "val"]
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
NEVER = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
"""Ids of COCO that are never annotated, from 0."""


def _open(name: str, root: Path, split: Split, **options: Any) -> SegmentationDataset:
    return create_dataset(DatasetConfig.model_validate({"name": name, "root": root, "partial": True, **options}), split)


def _check(
    dataset: SegmentationDataset, images: Path, masks: Path, suffix: str, expected: Callable[[Any], NDArray[Any]]
) -> None:
    """Every sample's image is its file, and its label is `expected` of its mask file."""
    names = sorted(path.name.removesuffix(suffix) for path in masks.rglob(f"*{suffix}"))
    samples = [dataset[index] for index in range(len(dataset))]
    assert len(samples) == len(names) > 0
    for sample in samples:
        (image,) = images.rglob(f"{sample.name}.*")
        (mask,) = masks.rglob(f"{sample.name.removesuffix('_leftImg8bit')}{suffix}")
        assert np.array_equal(sample.image.permute(1, 2, 0).numpy(), np.asarray(Image.open(image).convert("RGB")))
        assert np.array_equal(sample.label.numpy(), expected(np.asarray(Image.open(mask)).astype(int)))


def _ids(ids: Sequence[int]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """The place of each value in `ids`, 255 for all others, pixel by pixel."""
    return lambda raw: np.select([raw == value for value in ids], list(range(len(ids))), 255)


def _published(samples: Path, key: str) -> tuple[tuple[str, ...], list[list[int]]]:
    table = json.loads((samples.parents[1] / "reference" / "classes_palettes.json").read_text())[key]
    return tuple(name.strip() for name in table["classes"]), table["palette"]


def _same_classes(dataset: SegmentationDataset, published: tuple[tuple[str, ...], list[list[int]]]) -> None:
    assert dataset.classes.names == published[0]
    assert [list(color) for color in dataset.classes.colors] == published[1]


@pytest.mark.parametrize(("folder", "split"), [("cityscapes", "train"), ("cityscapes_256x128", "val")])
def test_cityscapes_label_ids(samples: Path, folder: str, split: Split) -> None:
    root = samples / folder
    dataset = _open("cityscapes", root, split, labels="labelIds")
    _check(dataset, root / "leftImg8bit", root / "gtFine", "_gtFine_labelIds.png", _ids(CITYSCAPES_IDS))
    _same_classes(dataset, _published(samples, "CityscapesDataset"))


def test_cityscapes_train_ids_are_the_same_labels(samples: Path) -> None:
    root = samples / "cityscapes_256x128"
    dataset = _open("cityscapes", root, "val", labels="labelTrainIds")
    _check(dataset, root / "leftImg8bit", root / "gtFine", "_gtFine_labelTrainIds.png", lambda raw: raw)
    same = dataset[0].label == _open("cityscapes", root, "val", labels="labelIds")[0].label
    assert same.float().mean() > 0.99  # the two small masks were resized one by one, so edges differ


def test_ade20k(samples: Path) -> None:
    root = samples / "ade20k" / "ADEChallengeData2016"
    dataset = _open("ade20k", root, "val")
    _check(dataset, root / "images", root / "annotations", ".png", lambda raw: np.where(raw == 0, 255, raw - 1))
    _same_classes(dataset, _published(samples, "ADE20KDataset"))
    official = [line.split("\t")[4].split(",")[0] for line in (root / "objectInfo150.txt").read_text().splitlines()[1:]]
    assert [name for name in dataset.classes.names if name in official] == [
        name for name in official if name in dataset.classes.names
    ]


@pytest.mark.parametrize(
    ("masks", "order", "names"),
    [
        ("SegmentationClassContext", "openmmlab", "59_labels_mmseg_order.txt"),
        ("59_context_labels", "official", "59_labels_official_order.txt"),
    ],
)
def test_pascal_context_in_both_orders(samples: Path, masks: str, order: str, names: str) -> None:
    root = samples / "pascal_context" / "VOCdevkit" / "VOC2010"
    dataset = _open("pascal_context", root, "val", masks=masks, order=order)
    _same_classes(dataset, _published(samples, "PascalContextDataset59"))
    values = [line.split(": ")[1].strip() for line in (root / names).read_text().splitlines()[1:]]
    place = [255] + [dataset.classes.names.index(name) for name in values]
    _check(dataset, root / "JPEGImages", root / masks, ".png", lambda raw: np.array(place)[raw])


def test_pascal_context_with_the_background(samples: Path) -> None:
    root = samples / "pascal_context" / "VOCdevkit" / "VOC2010"
    dataset = _open("pascal_context", root, "val", num_classes=60)
    assert dataset.classes.names[0] == "background"
    assert dataset.classes.names[1:] == _published(samples, "PascalContextDataset59")[0]
    _check(dataset, root / "JPEGImages", root / "SegmentationClassContext", ".png", lambda raw: raw)


@pytest.mark.parametrize("split", ["train", "val"])
def test_voc_with_the_labels_of_sbd(samples: Path, split: Split) -> None:
    root = samples / "voc_aug" / "VOCdevkit" / "VOC2012"
    dataset = _open("voc", root, split)
    listed = next(root.glob("ImageSets/*/train_aug.txt" if split == "train" else "ImageSets/*/val.txt"))
    assert [dataset[i].name for i in range(len(dataset))] == listed.read_text().split()
    for index in range(len(dataset)):
        mask = Image.open(root / "SegmentationClassAug" / f"{dataset[index].name}.png")
        assert mask.mode == "P"
        assert np.array_equal(dataset[index].label.numpy(), np.asarray(mask))
        colors = np.array(mask.getpalette()).reshape(-1, 3)[:21]
        assert np.array_equal(colors, dataset.classes.colors)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("count", [171, 182])
def test_coco_stuff(samples: Path, split: Split, count: int) -> None:
    root = samples / "coco_stuff164k"
    dataset = _open("coco_stuff", root, split, num_classes=count)
    annotated = [value for value in range(182) if value not in NEVER]
    expected = _ids(annotated) if count == 171 else _ids(range(182))
    _check(dataset, root / "images" / f"{split}2017", root / "annotations" / f"{split}2017", ".png", expected)
    assert len(dataset.classes) == count


def test_what_lies_in_the_pictures_has_the_right_name(samples: Path) -> None:
    """Seen by eye: a cat on a bed with a laptop, riders at the sea, skis in snow, motorbikes, ducks by the water."""
    coco, context = samples / "coco_stuff164k", samples / "pascal_context" / "VOCdevkit" / "VOC2010"
    expected = {
        "000000017914": {"cat", "bed", "laptop"},
        "000000138805": {"person", "horse", "sea"},
        "000000000785": {"person", "skis", "snow"},
        "2008_008376": {"bird", "water"},
        "2009_000637": {"motorbike", "person", "sky"},
    }
    data = (
        _open("coco_stuff", coco, "train"),
        _open("coco_stuff", coco, "val"),
        _open("pascal_context", context, "val"),
    )
    seen = {
        sample.name: {dataset.classes.names[index] for index in sample.label.unique().tolist() if index != 255}
        for dataset in data
        for sample in (dataset[index] for index in range(len(dataset)))
    }
    for name, things in expected.items():
        assert things <= seen[name], name
