"""`prepare`: from what people download to what trains."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from own_folders import image, values_of
from PIL import Image
from run_lengths import encode, packed
from scipy.io import savemat

from segdistill import prepare
from segdistill.cli.tables.preparation import preparation_notes
from segdistill.core.errors import DataError, RecipeError
from segdistill.data import DatasetConfig, create_dataset
from segdistill.data.datasets.pascal_context import PascalContext
from segdistill.data.datasets.voc import VOC
from segdistill.preparation.matlab import read_label_map

Run = Callable[..., subprocess.CompletedProcess[str]]


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _mat(path: Path, **values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, values)


# --- Pascal Context -------------------------------------------------------------------------------------------------


def _context(root: Path) -> dict[str, NDArray[np.uint16]]:
    """Two images; their raw labels: 2 aeroplane, 420 tree, 5 one of the 400 that are no class."""
    raw = {"2008_000002": np.zeros((4, 6), np.uint16), "2008_000003": np.zeros((4, 6), np.uint16)}
    raw["2008_000002"][1:3, 1:4] = 420
    raw["2008_000002"][2, 2] = 2
    raw["2008_000003"][:, 3:] = 5
    raw["2008_000003"][0] = 458
    for name in raw:
        image(root / "JPEGImages" / f"{name}.jpg")
    _text(root / "ImageSets" / "Main" / "train.txt", "2008_000002\n")
    _text(root / "ImageSets" / "Main" / "val.txt", "2008_000003\n")
    return raw


def _check_context(root: Path, raw: dict[str, NDArray[np.uint16]], masks: Path) -> None:
    index = {0: 0, 2: 1, 5: 0, 420: 53, 458: 59}
    for name, labels in raw.items():
        assert values_of(masks / f"{name}.png") == [[index[value] for value in row] for row in labels.tolist()]
    train, val = (PascalContext(root=root, split=split, masks=masks, partial=True) for split in ("train", "val"))
    assert (train[0].name, val[0].name) == ("2008_000002", "2008_000003")
    assert {train.classes.names[i] for i in train[0].label.unique().tolist() if i != 255} == {"aeroplane", "tree"}


def test_pascal_context_from_mat_files(tmp_path: Path) -> None:
    raw = _context(tmp_path)
    for name, labels in raw.items():
        _mat(tmp_path / "trainval" / f"{name}.mat", LabelMap=labels)
    done = prepare("pascal_context", root=tmp_path, quiet=True, partial=True)
    assert done.ready
    assert done.converted == {"masks": 2}
    _check_context(tmp_path, raw, tmp_path / "SegmentationClassContext")
    assert prepare("pascal_context", root=tmp_path, quiet=True, partial=True).converted == {"masks": 0}


@pytest.mark.parametrize("code", [list, packed])
def test_pascal_context_from_json(tmp_path: Path, code: Callable[[list[int]], object]) -> None:
    root = tmp_path / "VOCdevkit" / "VOC2010"
    raw = _context(root)
    images = [
        {"image_id": i, "file_name": f"{name}.jpg", "height": 4, "width": 6, "phase": phase}
        for i, (name, phase) in enumerate(zip(raw, ("train", "val"), strict=True))
    ]
    regions = [
        {"image_id": 0, "category_id": 420, "segmentation": _region(raw["2008_000002"] > 0, code)},
        {"image_id": 0, "category_id": 2, "segmentation": _region(raw["2008_000002"] == 2, code)},
        {"image_id": 1, "category_id": 5, "segmentation": _region(raw["2008_000003"] == 5, code)},
        {"image_id": 1, "category_id": 458, "segmentation": _region(raw["2008_000003"] == 458, code)},
    ]
    tree = {"images": images, "annos_segmentation": regions}
    _text(tmp_path / "VOCdevkit" / "trainval_merged.json", json.dumps(tree))
    done = prepare("pascal_context", root=root, out=tmp_path / "made", quiet=True, partial=True)
    assert done.ready
    assert done.settings["masks"] == str(tmp_path / "made")
    _check_context(root, raw, tmp_path / "made")
    assert (root / "ImageSets" / "SegmentationContext" / "train.txt").read_text() == "2008_000002\n"


def _region(mask: NDArray[np.bool_], code: Callable[[list[int]], object]) -> dict[str, object]:
    return {"size": list(mask.shape), "counts": code(encode(mask))}


def test_json_of_something_else_is_named(tmp_path: Path) -> None:
    _context(tmp_path)
    _text(tmp_path / "trainval_merged.json", '{"images": [{"id": 1}]}')
    with pytest.raises(DataError, match=r"trainval_merged\.json is not the JSON of PASCAL in Detail"):
        prepare("pascal_context", root=tmp_path, quiet=True)


def test_a_mat_file_of_something_else_is_named(tmp_path: Path) -> None:
    _mat(tmp_path / "a.mat", LabelMap=np.zeros((2, 2, 3)))
    _mat(tmp_path / "b.mat", Other=np.zeros((2, 2)))
    _mat(tmp_path / "c.mat", LabelMap=np.full((2, 2), -1))
    (tmp_path / "d.mat").write_bytes(b"<html>404 Not Found</html>" * 20)
    (tmp_path / "e.mat").write_bytes(b"")
    for name in "abcde":
        with pytest.raises(DataError, match=rf"{name}\.mat as a label map"):
            read_label_map(tmp_path / f"{name}.mat", "LabelMap")


# --- VOC ------------------------------------------------------------------------------------------------------------


def test_voc_from_sbd(tmp_path: Path) -> None:
    sets = tmp_path / "ImageSets" / "Segmentation"
    _text(sets / "train.txt", "t1\nt2\n")
    _text(sets / "val.txt", "v1\n")
    _text(tmp_path / "SBD" / "train.txt", "t2\ns1\n")
    _text(tmp_path / "SBD" / "val.txt", "v1\ns2\n")
    for value, name in enumerate(("t1", "t2", "v1", "s1", "s2"), 1):
        image(tmp_path / "JPEGImages" / f"{name}.jpg")
        if name[0] != "s":
            (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
            picture = Image.new("P", (6, 4), value)
            picture.putpalette(list(range(63)))
            picture.save(tmp_path / "SegmentationClass" / f"{name}.png")
        if name != "t1":
            label = {"Segmentation": np.full((4, 6), value + 10, np.uint8), "Boundaries": np.zeros((4, 6))}
            _mat(tmp_path / "SBD" / "cls" / f"{name}.mat", GTcls=label)
    done = prepare("voc", root=tmp_path, quiet=True, partial=True)
    assert done.ready
    train, val = VOC(root=tmp_path, partial=True), VOC(root=tmp_path, split="val", partial=True)
    labels = {train[i].name: train[i].label.unique().tolist() for i in range(len(train))}
    assert labels == {"t1": [1], "t2": [2], "s1": [14], "s2": [15]}  # VOC's own labels before SBD's, no image of val
    assert [val[0].name, val[0].label.unique().tolist()] == ["v1", [3]]


# --- Your own folder, and the whole call ----------------------------------------------------------------------------


def test_painted_masks_become_indices(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name, color in (("a", (9, 0, 0)), ("b", (0, 9, 0)), ("sub/c", (0, 0, 9))):
        image(root / "images" / f"{name}.jpg")
        (root / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), color).save(root / "masks" / f"{name}.png")
    colors = {"x": [9, 0, 0], "y": [0, 9, 0]}
    done = prepare(
        "folder", root=root, out=tmp_path / "index", quiet=True, classes=["x", "y"], colors=colors,
        mask_colors=True, void=[[0, 0, 9]], val_every=2,
    )  # fmt: skip
    assert done.converted == {"index masks": 3}
    values = {name: values_of(tmp_path / "index" / "masks" / f"{name}.png")[0][0] for name in ("a", "b", "sub/c")}
    assert values == {"a": 0, "b": 1, "sub/c": 255}
    assert done.ready
    printed = " ".join(preparation_notes(done))
    assert str(tmp_path / "index" / "masks") in printed, "the way to use it is the way to what was made"
    assert "void" not in printed
    again = create_dataset(DatasetConfig(name="folder", root=root, **done.settings), "train")
    assert [again[index].label.unique().tolist() for index in range(len(again))] == [[0], [255]]


def test_masks_of_a_list_become_indices_on_a_list(tmp_path: Path) -> None:
    for split, value in (("train", 1000), ("val", 2000)):
        image(tmp_path / "set" / f"{split}.jpg")
        Image.fromarray(np.full((4, 6), value, np.uint16)).save(tmp_path / "set" / f"{split}_m.png")
        (tmp_path / "set" / f"{split}.txt").write_text(f"{split}.jpg {split}_m.png\n")
    values = {1000: "x", 2000: "y"}
    done = prepare("folder", root=tmp_path / "set", out=tmp_path / "o", quiet=True, classes=["x", "y"], values=values)
    assert done.ready
    again = create_dataset(DatasetConfig(name="folder", root=tmp_path / "set", **done.settings), "val")
    assert again[0].label.unique().tolist() == [1]
    with pytest.raises(DataError, match="would be written over"):
        prepare("folder", root=tmp_path / "set", out=tmp_path / "set", quiet=True, classes=["x", "y"], values=values)


def test_archives_are_unpacked_and_what_is_missing_is_named(tmp_path: Path, segdistill: Run) -> None:
    (tmp_path / "downloads").mkdir()
    with zipfile.ZipFile(tmp_path / "downloads" / "ADEChallengeData2016.zip", "w") as archive:
        for folder, word, suffix in (("training", "train", "jpg"), ("validation", "val", "jpg")):
            picture, mask = tmp_path / f"{word}.{suffix}", tmp_path / f"{word}.png"
            image(picture)
            Image.new("L", (6, 4), 1).save(mask)
            archive.write(picture, f"ADEChallengeData2016/images/{folder}/ADE_{word}_00000001.jpg")
            archive.write(mask, f"ADEChallengeData2016/annotations/{folder}/ADE_{word}_00000001.png")
    words = ("prepare", "ade20k", f"root={tmp_path / 'ade'}", f"archives={tmp_path / 'downloads'}")
    done = segdistill(*words, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["unpacked"]["ADEChallengeData2016.zip"]["files"] == 4
    assert (report["ready"], report["splits"]["train"]["images"], report["splits"]["train"]["expected"]) == (
        False,
        1,
        20210,
    )
    assert "1 of 20210 images" in report["splits"]["train"]["problem"]
    assert "sceneparsing.csail.mit.edu" in report["source"]
    plain = segdistill(*words, "partial=true")
    assert plain.returncode == 0, plain.stderr
    assert f"data.root={tmp_path / 'ade'} data.partial=true" in plain.stdout


def test_a_folder_that_is_not_there_says_where_to_get_the_data(tmp_path: Path, segdistill: Run) -> None:
    done = segdistill("prepare", "cityscapes", f"root={tmp_path / 'nowhere'}")
    assert done.returncode == 1
    assert "Register at cityscapes-dataset.com" in done.stderr
    assert "Traceback" not in done.stderr
    assert "root=FOLDER" in segdistill("prepare", "cityscapes").stderr


def test_a_bad_mask_is_found(tmp_path: Path) -> None:
    for folder, word in (("training", "train"), ("validation", "val")):
        image(tmp_path / "images" / folder / f"ADE_{word}_00000001.jpg")
        (tmp_path / "annotations" / folder).mkdir(parents=True)
        Image.new("L", (6, 4), 1 if word == "train" else 151).save(
            tmp_path / "annotations" / folder / f"ADE_{word}_00000001.png"
        )
    done = prepare("ade20k", root=tmp_path, quiet=True, partial=True)
    assert not done.ready
    assert done.splits["train"].problem == ""
    assert "ADE_val_00000001.png" in done.splits["val"].problem
    assert "value 151;" in done.splits["val"].problem


def test_what_can_not_be_prepared_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'cityscapes'"):
        prepare("cityscape", root=tmp_path)
    with pytest.raises(RecipeError, match="streets"):
        prepare("streets", root=tmp_path)
    with pytest.raises(RecipeError, match="partail"):
        prepare("voc", root=tmp_path, partail=True)
    with pytest.raises(DataError, match="No folder"):
        prepare("voc", root=tmp_path, archives=tmp_path / "nowhere")
