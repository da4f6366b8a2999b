"""labelme JSON, by hand from its own documentation."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated import annotated, grid, images, label_of, save_json
from own_folders import says_in_order
from PIL import Image

from segdistill.core.errors import DataError


def shape(label: str, points: list[list[float]], kind: str = "polygon", **more: Any) -> dict[str, Any]:
    return {
        "label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {},
        "mask": None, **more,
    }  # fmt: skip


def tree(image: str, *shapes: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "5.8.3", "flags": {}, "shapes": list(shapes), "imagePath": image, "imageData": None,
        "imageHeight": 6, "imageWidth": 8,
    }  # fmt: skip


def png(mask: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(np.asarray(mask, np.uint8) > 0).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_every_kind_of_shape_in_drawing_order(tmp_path: Path) -> None:
    images(tmp_path, "images/a.png", "images/b.png")
    small = grid("101 110")
    shapes = [
        shape("car", [[0, 0], [8, 0], [8, 3], [0, 3]]),
        shape("tree", [[6, 5], [4, 1]], "rectangle"),
        shape("cat", [[1.5, 4.5], [2.6, 4.5]], "circle"),
        shape("dog", [[0, 0], [2, 1]], "mask", mask=png(small)),
        shape("__ignore__", [[7, 0], [8, 0], [8, 1], [7, 1]]),
        shape("car", [[3, 3]], "point"),
    ]
    save_json(tmp_path / "labels" / "b.json", tree("..\\images\\b.png", *shapes))
    data = annotated(tmp_path, "labels")
    assert data.classes.names == ("background", "car", "cat", "dog", "tree")
    shown = grid("3131111x 33114411 11114411 .2..44.. 222.44.. .2......")
    assert np.array_equal(label_of(data, "b"), shown)
    assert any("labelme JSON" in note for note in data.notes)
    assert any("1 points and lines" in note for note in data.notes)
    train = annotated(tmp_path, "labels", "train")
    assert not label_of(train, "a").any()
    assert any("1 of 1 images have no file of labels" in note for note in train.notes)


def test_files_beside_their_pictures_in_folders_of_the_splits(tmp_path: Path) -> None:
    for split, label in (("train", "zebra"), ("valid", "ant")):
        images(tmp_path, f"{split}/{split}.png")
        square = shape(label, [[0, 0], [8, 6]], "rectangle")
        save_json(tmp_path / split / f"{split}.json", tree("moved/elsewhere.png", square))
    data = annotated(tmp_path, "{split}", "train")
    assert data.classes.names == ("background", "zebra", "ant")
    assert (label_of(data, "train") == 1).all()
    assert (label_of(annotated(tmp_path, "{split}"), "valid") == 2).all()


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (shape("car", [[0, 0], [1, 1]], "oriented"), "'oriented' with 2 points"),
        (shape("car", [[0, "x"]]), "points"),
        (shape("car", [[0, 0], [2, 1]], "mask", mask="AAAA"), "PNG"),
        (shape("car", [[0, 0], [2, 1]], "mask"), "without a mask"),
        ({"label": None, "points": []}, "label is None"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, broken: dict[str, Any], words: str) -> None:
    images(tmp_path, "images/a.png", "images/b.png")
    path = save_json(tmp_path / "labels" / "b.json", tree("b.png", shape("car", [[0, 0], [1, 0], [1, 1]]), broken))
    with pytest.raises(DataError, match=says_in_order(path, words)):
        label_of(annotated(tmp_path, "labels"), "b")


def test_a_file_of_another_format_among_them_is_refused(tmp_path: Path) -> None:
    images(tmp_path, "images/a.png", "images/b.png")
    save_json(tmp_path / "labels" / "a.json", tree("a.png"))
    path = save_json(tmp_path / "labels" / "b.json", {"annotations": []})
    with pytest.raises(DataError, match=says_in_order(path, "labelme", "shapes")):
        annotated(tmp_path, "labels")


def test_files_in_folders_as_the_pictures_are(tmp_path: Path) -> None:
    images(tmp_path, "images/s1/a.png", "images/s1/b.png", "images/s2/a.png", "images/s2/b.png")
    for folder, label in (("s1", "car"), ("s2", "road")):
        whole = shape(label, [[0, 0], [8, 0], [8, 6], [0, 6]])
        for name in "ab":
            save_json(tmp_path / "labels" / folder / f"{name}.json", tree(f"{name}.png", whole))
    data = annotated(tmp_path, "labels", val_every=None, val_pattern="s2/*")
    assert data.classes.names == ("background", "car", "road")
    assert (label_of(data, "a") == 2).all()
    assert (label_of(annotated(tmp_path, "labels", "train", val_every=None, val_pattern="s2/*"), "a") == 1).all()
    for name in "ab":
        (tmp_path / "images" / "s2" / f"{name}.png").unlink()
    with pytest.raises(DataError, match=says_in_order("labels/s2/a.json", "s2/a.png")):  # it is not s1's
        annotated(tmp_path, "labels")


def test_files_of_two_formats_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "images/a.png", "images/b.png")
    save_json(tmp_path / "labels" / "a.json", tree("a.png", shape("car", [[0, 0], [8, 0], [8, 6]])))
    (tmp_path / "labels" / "b.txt").write_text("0 0 0 1 0 1 1\n")
    with pytest.raises(DataError, match=says_in_order("several formats: labelme, yolo", "data.format")):
        annotated(tmp_path, "labels")


def test_files_that_change_are_read_anew(tmp_path: Path) -> None:
    images(tmp_path, "images/a.png", "images/b.png")
    file = tmp_path / "labels" / "b.json"
    for number, label in enumerate(("car", "bus")):
        save_json(file, tree("b.png", shape(label, [[0, 0], [8, 0], [8, 6]])))
        os.utime(file, (1000 - number, 1000 - number))  # an older file in its place
        assert annotated(tmp_path, "labels").classes.names == ("background", label)
