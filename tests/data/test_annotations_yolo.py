"""YOLO-seg, by hand from its own documentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from annotated import annotated, grid, images, label_of
from own_folders import says_in_order

from segdistill.core.errors import DataError


def write(root: Path, **labels: str) -> Path:
    """images/{train,val}/NAME.png, labels/{train,val}/NAME.txt and data.yaml."""
    images(root, "images/train/a.png", "images/val/b.png", "images/val/empty.png")
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames:\n  0: road\n  1: car\n")
    for name, text in {"a": "0 0 0 1 0 1 1 0 1\n", **labels}.items():
        path = root / "labels" / ("train" if name == "a" else "val") / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize("masks", ["labels/{split}", "labels"])
def test_polygons_and_boxes_in_shares_of_the_sides(tmp_path: Path, masks: str) -> None:
    write(tmp_path, b="0 0 0 1 0 1 0.5 0 0.5\n1 0.25 0.5 0.25 0.3333333\n")
    data = annotated(tmp_path, masks, val_every=None)
    assert data.classes.names == ("background", "road", "car")
    assert np.array_equal(label_of(data, "b"), grid("11111111 11111111 12211111 .22..... ........ ........"))
    assert not label_of(data, "empty").any()
    assert any("YOLO-seg" in note for note in data.notes)
    assert (label_of(annotated(tmp_path, masks, "train", val_every=None), "a") == 1).all()


def test_an_empty_file_is_an_image_without_objects(tmp_path: Path) -> None:
    write(tmp_path, b="", empty="1 0 0 1 0 1 1 0 1")
    data = annotated(tmp_path, "labels/{split}")
    assert not label_of(data, "b").any()
    assert (label_of(data, "empty") == 2).all()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("2 0 0 1 0 1 1", "line 1 is of class 2"),
        ("1 0 0 1 0 1", "line 1"),
        ("1 0 0 640 0 640 480", "from 0 to 1"),
        ("car 0 0 1 0 1 1", "line 1 is 'car"),
        ("1 0 nan 1 0 1 1", "line 1"),
    ],
)
def test_a_damaged_line_is_refused_by_file_and_number(tmp_path: Path, line: str, words: str) -> None:
    write(tmp_path, b=line)
    with pytest.raises(DataError, match=says_in_order(tmp_path / "labels" / "val" / "b.txt", words)):
        annotated(tmp_path, "labels/{split}", format="yolo")


def test_without_names_of_the_classes_they_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path, b="")
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(DataError, match=says_in_order("labels", "data.yaml")):
        annotated(tmp_path, "labels/{split}", format="yolo")


def test_a_picture_may_be_called_as_a_list_is(tmp_path: Path) -> None:
    images(tmp_path, "images/a.png", "images/test.png")
    (tmp_path / "data.yaml").write_text("names: [road, car]\n")
    (tmp_path / "labels").mkdir()
    for name in ("a", "test"):
        (tmp_path / "labels" / f"{name}.txt").write_text("1 0 0 1 0 1 1 0 1\n0 0.5 0.5 1 1\n")
    (tmp_path / "labels" / "train.txt").write_text("images/a.png\nimages/test.png\n")
    data = annotated(tmp_path, "labels")
    assert (label_of(data, "test") == 1).all()
    assert any("2 lines" in note and "are boxes" in note for note in data.notes)
