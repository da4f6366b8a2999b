"""Roboflow's semantic export: index masks beside the images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from annotated import annotated, grid, images, label_of
from own_folders import mask, says_in_order

from segdistill.core.errors import DataError

CSV = "Pixel Value, Class\n0, background\n1, road\n2, car\n"


def write(root: Path, values: list[int], classes: str = CSV) -> Path:
    for split, name in (("train", "a"), ("valid", "b")):
        images(root, f"{split}/{name}.jpg", size=(8, 4))
        mask(root / split / f"{name}_mask.png", values)
        (root / split / "_classes.csv").write_text(classes)
    return root


def test_masks_beside_the_images_by_the_values_of_the_csv(tmp_path: Path) -> None:
    write(tmp_path, [0, 0, 1, 1, 2, 2, 0, 1])
    data = annotated(tmp_path, "{split}")
    assert data.classes.names == ("background", "road", "car")
    assert np.array_equal(label_of(data, "b"), grid("..1122.1 " * 4))
    assert [data.name(index) for index in range(len(data))] == ["b"]
    assert any("Roboflow" in note for note in data.notes)
    void = annotated(tmp_path, "{split}", "train", unlabeled="void")
    assert np.array_equal(label_of(void, "a"), grid("..1122.1 " * 4))  # 0 is a class of this export


def test_damaged_exports_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, [0, 0, 9, 9, 0, 0, 0, 0])
    with pytest.raises(DataError, match=says_in_order("b_mask.png", "holds 9", "0..2")):
        label_of(annotated(tmp_path, "{split}"), "b")
    write(tmp_path, [0] * 8, "background\nroad\n")
    with pytest.raises(DataError, match=says_in_order("_classes.csv", "value", "Pixel Value, Class")):
        annotated(tmp_path, "{split}")


def test_two_lists_of_classes_that_differ_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [0] * 8)
    (tmp_path / "train" / "more").mkdir()
    (tmp_path / "train" / "more" / "_classes.csv").write_text("Pixel Value, Class\n1, car\n2, road\n")
    with pytest.raises(DataError, match=says_in_order("more/_classes.csv names other classes than", "_classes.csv")):
        annotated(tmp_path, "{split}")
    write(tmp_path / "twice", [0] * 8, "Pixel Value, Class\n1, car\n1, road\n")
    with pytest.raises(DataError, match=says_in_order("'car' and 'road' share one value")):
        annotated(tmp_path / "twice", "{split}")
