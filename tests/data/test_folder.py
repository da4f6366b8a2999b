"""Your own folder of images and masks: both layouts, the lists, the class names, and what goes wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from segdistill.core.errors import DataError
from segdistill.data import DatasetConfig, SegmentationDataset, create_dataset
from segdistill.data.datasets.folder import Folder

CLASSES = ["road", "car", "tree"]


def _fill(base: Path, stems: Iterable[str], *, suffix: str = ".png") -> None:
    """images/ and masks/ in `base`; the mask of the i-th stem is filled with i mod 3."""
    (base / "images").mkdir(parents=True, exist_ok=True)
    (base / "masks").mkdir(exist_ok=True)
    for i, stem in enumerate(stems):
        Image.new("RGB", (6, 4)).save(base / "images" / f"{stem}{suffix}")
        Image.new("L", (6, 4), i % 3).save(base / "masks" / f"{stem}.png")


def _folder(root: Path, split: Literal["train", "val"] = "train", **options: Any) -> Folder:
    return Folder(root=root, split=split, **{"classes": CLASSES, **options})


def _stems(root: Path, split: Literal["train", "val"], **options: Any) -> list[str]:
    return _names(_folder(root, split, **options))


def _names(dataset: SegmentationDataset) -> list[str]:
    return [dataset[index].name for index in range(len(dataset))]


def _says(*parts: object) -> str:
    """A pattern for a message that holds all `parts`, in this order."""
    return "(?s)" + ".*".join(re.escape(str(part)) for part in parts)


# --- Which image is in which split ----------------------------------------------------------------------------------


def test_split_folders(tmp_path: Path) -> None:
    _fill(tmp_path / "train", "abcd")
    _fill(tmp_path / "val", "xy")
    assert _stems(tmp_path, "train") == ["a", "b", "c", "d"]
    assert _stems(tmp_path, "val") == ["x", "y"]


def test_an_image_goes_with_the_mask_of_its_name(tmp_path: Path) -> None:
    _fill(tmp_path / "train", ["b", "a", "c"], suffix=".jpg")
    samples = [_folder(tmp_path)[index] for index in range(3)]
    assert {sample.name: sample.label.unique().tolist() for sample in samples} == {"a": [1], "b": [0], "c": [2]}


def test_every_nth_image_by_name_is_for_validation(tmp_path: Path) -> None:
    _fill(tmp_path, "gfedcba")
    assert _stems(tmp_path, "val", val_every=3) == ["c", "f"]
    assert _stems(tmp_path, "train", val_every=3) == ["a", "b", "d", "e", "g"]


def test_one_image_in_five_is_for_validation_by_default(tmp_path: Path) -> None:
    _fill(tmp_path, [f"{i:02d}" for i in range(20)])
    train, val = _stems(tmp_path, "train"), _stems(tmp_path, "val")
    assert len(val) == 4
    assert sorted(train + val) == [f"{i:02d}" for i in range(20)]


def test_lists_say_which_image_is_in_which_split(tmp_path: Path) -> None:
    _fill(tmp_path, "abcd")
    (tmp_path / "train.txt").write_text("d\n\na\n")
    (tmp_path / "val.txt").write_text("b.png\n  images/c.png  \n")
    assert _stems(tmp_path, "train") == ["d", "a"]
    assert _stems(tmp_path, "val") == ["b", "c"]


@pytest.mark.parametrize("form", ["{}", "images/{0}.png masks/{0}.png"])
def test_validation_images_on_the_training_list_are_noted(form: str, tmp_path: Path) -> None:
    _fill(tmp_path, "abcd")
    (tmp_path / "train.txt").write_text("".join(f"{form.format(name)}\n" for name in "abc"))
    (tmp_path / "val.txt").write_text("".join(f"{form.format(name)}\n" for name in "dcb"))
    (note,) = _folder(tmp_path, "val").notes
    assert note.startswith(f"2 of 3 validation images are training images as well, first {tmp_path / 'images/c.png'}.")
    (tmp_path / "train.txt").write_text(f"{form.format('a')}\n")
    assert _folder(tmp_path, "val").notes == []
    (tmp_path / "train.txt").write_text(f"{form.format('zebra')}\n")
    assert _folder(tmp_path, "val").notes == [], "a training list that does not fit hinders no validation"


def test_a_list_that_names_an_unknown_image_is_refused(tmp_path: Path) -> None:
    _fill(tmp_path, "abcd")
    (tmp_path / "train.txt").write_text("a\nzebra\n")
    with pytest.raises(DataError, match=_says(tmp_path / "train.txt", "'zebra'", tmp_path / "images")):
        _folder(tmp_path)


def test_a_split_without_a_list_gets_what_the_other_leaves(tmp_path: Path) -> None:
    _fill(tmp_path, "abcdefghij")
    (tmp_path / "train.txt").write_text("\n".join("abcdefgh"))
    assert _stems(tmp_path, "train") == [*"abcdefgh"]
    assert _stems(tmp_path, "val") == ["i", "j"]


def test_names_may_hold_dots(tmp_path: Path) -> None:
    _fill(tmp_path / "train", ["cam.left.001", "cam.left.002"])
    assert _stems(tmp_path, "train") == ["cam.left.001", "cam.left.002"]


def test_listed_names_may_hold_dots(tmp_path: Path) -> None:
    _fill(tmp_path, ["cam.left.001", "cam.left.002"])
    (tmp_path / "train.txt").write_text("cam.left.001\n")
    assert _stems(tmp_path, "train") == ["cam.left.001"]


def test_val_every_below_two_is_refused(tmp_path: Path) -> None:
    _fill(tmp_path, "abcd")
    with pytest.raises(DataError, match=_says("val_every is 1")):
        _folder(tmp_path, val_every=1)


# --- Files ----------------------------------------------------------------------------------------------------------


def test_an_image_without_a_mask_is_named_with_the_mask_it_lacks(tmp_path: Path) -> None:
    _fill(tmp_path / "train", "abcd")
    masks = tmp_path / "train" / "masks"
    (masks / "b.png").unlink()
    (masks / "d.png").unlink()
    with pytest.raises(DataError, match=_says("2 of 4", tmp_path / "train" / "images" / "b.png", masks / "b.png")):
        _folder(tmp_path)


def test_a_mask_without_an_image_and_other_files_do_no_harm(tmp_path: Path) -> None:
    _fill(tmp_path / "train", "ab")
    (tmp_path / "train" / "images" / "a.png").unlink()
    for name in (".DS_Store", "readme.txt"):
        (tmp_path / "train" / "images" / name).write_text("")
    assert _stems(tmp_path, "train") == ["b"]


def test_suffixes_may_be_in_capitals(tmp_path: Path) -> None:
    _fill(tmp_path / "train", "ab", suffix=".JPG")
    assert _stems(tmp_path, "train") == ["a", "b"]


def test_two_images_of_one_name_are_both_named(tmp_path: Path) -> None:
    _fill(tmp_path / "train", "ab")
    images = tmp_path / "train" / "images"
    Image.new("RGB", (6, 4)).save(images / "a.jpg")
    with pytest.raises(DataError, match=r"a\.png") as caught:
        _folder(tmp_path)
    assert str(images / "a.jpg") in str(caught.value)


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_folder_is_refused(tmp_path: Path, split: Literal["train", "val"]) -> None:
    _fill(tmp_path, [])
    with pytest.raises(DataError, match="holds no image"):
        _folder(tmp_path, split)


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=_says("No folder", tmp_path / "nowhere", "images/", "masks/")):
        _folder(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["images", "masks"])
def test_a_missing_folder_is_named(tmp_path: Path, name: str) -> None:
    _fill(tmp_path / "train", [])
    (tmp_path / "train" / name).rmdir()
    with pytest.raises(DataError, match=_says("No folder", tmp_path / "train" / name)):
        _folder(tmp_path)


def test_void_values_are_not_trained_on(tmp_path: Path) -> None:
    _fill(tmp_path / "train", "a")
    Image.fromarray(np.array([[0, 1, 2, 9, 255, 2]] * 4, np.uint8)).save(tmp_path / "train" / "masks" / "a.png")
    assert _folder(tmp_path, void=[9])[0].label[0].tolist() == [0, 1, 2, 255, 255, 2]


# --- Classes --------------------------------------------------------------------------------------------------------


def test_class_names_from_a_list_or_a_file(tmp_path: Path) -> None:
    _fill(tmp_path / "train", "a")
    (tmp_path / "classes.txt").write_text("street\n\n traffic sign \n")
    (tmp_path / "other.txt").write_text("one\ntwo\nthree\n")
    assert _folder(tmp_path).classes.names == ("road", "car", "tree")
    assert _folder(tmp_path, classes=None).classes.names == ("street", "traffic sign")
    assert _folder(tmp_path, classes=tmp_path / "other.txt").classes.names == ("one", "two", "three")


def test_every_class_has_a_color_of_its_own(tmp_path: Path) -> None:
    _fill(tmp_path / "train", "a")
    classes = _folder(tmp_path, classes=[f"class {i}" for i in range(150)]).classes
    assert len(classes) == len(set(classes.colors)) == 150
    assert all(0 <= part <= 255 for color in classes.colors for part in color)


def test_a_class_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    _fill(tmp_path / "train", "a")
    with pytest.raises(DataError, match="'car' twice"):
        _folder(tmp_path, classes=["car", "road", "car"])


def test_one_class_is_refused(tmp_path: Path) -> None:
    _fill(tmp_path / "train", "a")
    with pytest.raises(DataError, match=_says("two or more", "found 1", "classes.txt")):
        _folder(tmp_path, classes=["car"])


def test_missing_class_names_are_asked_for(tmp_path: Path) -> None:
    _fill(tmp_path / "train", "a")
    with pytest.raises(DataError, match=_says(tmp_path / "classes.txt", "one class a line")):
        _folder(tmp_path, classes=None)


def test_the_options_of_a_recipe_are_strings_and_lists(tmp_path: Path) -> None:
    _fill(tmp_path, "abcd")
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    from_list = DatasetConfig.model_validate({"name": "folder", "root": str(tmp_path), "classes": CLASSES})
    from_file = DatasetConfig.model_validate(
        {"name": "folder", "root": str(tmp_path), "classes": str(tmp_path / "names.txt"), "val_every": 2}
    )
    assert create_dataset(from_list, "train").classes == create_dataset(from_file, "val").classes
    assert _names(create_dataset(from_file, "val")) == ["b", "d"]
