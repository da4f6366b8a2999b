"""Lists, folders, class lists and options that are easily misread: each is read rightly, or refused by name."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_folders import CLASSES, image, mask, names_of, open_folder, pair, row, says_in_order

import segdistill
from segdistill.core.errors import DataError, RecipeError
from segdistill.data.pairs import FilePairs
from segdistill.diagnosis.diagnose import Diagnosis


def doctor(root: Path, **options: Any) -> Diagnosis:
    tree = {"root": str(root), "classes": CLASSES, **options}
    return segdistill.doctor("folder", data=tree, augment={"crop": [4, 6]}, quiet=True)


def files_of(data: Any, root: Path) -> list[str]:
    assert isinstance(data, FilePairs)
    return [path.relative_to(root / "images").as_posix() for path, _ in data.pairs]


# --- Lists: each line means one image, or is refused ----------------------------------------------------------------


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    """seq1, seq2 and seq3, whose frames have the same names."""
    for seq in (1, 2, 3):
        for frame in (0, 1):
            image(tmp_path / "images" / f"seq{seq}" / f"{frame:04d}.png", red=10 * seq + frame)
            mask(tmp_path / "masks" / f"seq{seq}" / f"{frame:04d}.png", [seq - 1] * 6)
    return tmp_path


def write_lists(root: Path, form: str) -> None:
    lines = {"train": [(1, 0), (2, 0), (2, 1)], "val": [(3, 0), (3, 1)]}
    for split, frames in lines.items():
        text = "".join(form.format(root=root, seq=seq, frame=f"{frame:04d}") + "\n" for seq, frame in frames)
        (root / f"{split}.txt").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "form",
    [
        "{root}/images/seq{seq}/{frame}.png",
        "./images/seq{seq}/{frame}.png",
        "images/../images/seq{seq}/{frame}",
        "mydata/images/seq{seq}/{frame}.png",
        "{root}/masks/seq{seq}/{frame}.png",
        "images\\seq{seq}\\{frame}.png",
        "C:\\data\\images\\seq{seq}\\{frame}.PNG",
        "seq{seq}/{frame}.jpg",
    ],
)
def test_every_way_to_write_a_nested_image(sequences: Path, form: str) -> None:
    write_lists(sequences, form)
    assert files_of(open_folder(sequences), sequences) == ["seq1/0000.png", "seq2/0000.png", "seq2/0001.png"]
    assert files_of(open_folder(sequences, "val"), sequences) == ["seq3/0000.png", "seq3/0001.png"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["0000.png"], ["'0000.png'", "seq1/0000.png", "seq2/0000.png"]),
        (["seq1/0000", "./images/seq1/0000.png"], ["twice", "'seq1/0000'", "'./images/seq1/0000.png'"]),
        (["seq9/0000.png"], ["0000.png", "which is not in"]),
        (["here/seq1/0000", "there/seq2/0000"], ["here/seq1/0000", "there/seq2/0000", "not certain"]),
    ],
)
def test_a_line_that_is_not_certain_is_refused(sequences: Path, lines: list[str], words: list[str]) -> None:
    (sequences / "train.txt").write_text("\n".join(lines))
    with pytest.raises(DataError, match=says_in_order(sequences / "train.txt")) as caught:
        open_folder(sequences)
    assert all(word in str(caught.value) for word in words)


def test_names_in_both_spellings_of_an_accent(tmp_path: Path) -> None:
    nfc, nfd = (unicodedata.normalize(form, "rué") for form in ("NFC", "NFD"))
    image(tmp_path / "images" / f"{nfd}.png")
    mask(tmp_path / "masks" / f"{nfc}.png", [2] * 6)
    (tmp_path / "train.txt").write_text(nfc, encoding="utf-8")
    assert row(open_folder(tmp_path)) == [2] * 6
    image(tmp_path / "images" / f"{nfc}.png")
    with pytest.raises(DataError, match="share a name"):
        open_folder(tmp_path)


def test_two_columns_that_may_be_two_files_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "lists"):
        image(folder / "a.png")
        mask(folder / "a_m.png", [1] * 6)
    (tmp_path / "lists" / "train.lst").write_text("a.png,a_m.png\n")
    with pytest.raises(DataError, match=says_in_order("'a.png'", "may be", tmp_path / "a.png")):
        open_folder(tmp_path, lists={"train": "lists/train.lst"})
    for name in ("a.png", "a_m.png"):
        (tmp_path / name).unlink()
    assert row(open_folder(tmp_path, lists={"train": "lists/train.lst"})) == [1] * 6


def test_a_test_list_is_not_validation(sequences: Path) -> None:
    (sequences / "train.txt").write_text("seq1/0000\n")
    (sequences / "test.txt").write_text("seq3/0000\n")
    with pytest.raises(DataError, match=says_in_order("train.txt and test.txt", "no val.txt", "data.lists=")):
        open_folder(sequences, "val")


# --- Splits by folder, templates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_folders_named_after_splits_are_the_split(tmp_path: Path, val: str) -> None:
    for place in ("train/a", "train/b", f"{val}/c", "test/d"):
        image(tmp_path / "images" / f"{place}.png", red=ord(place[-1]))
        mask(tmp_path / "masks" / f"{place}.png", [0, 1, 2] * 2)
    assert names_of(open_folder(tmp_path)) == ["a", "b"]
    assert names_of(open_folder(tmp_path, "val")) == ["c"]
    message = " ".join(finding.text for finding in doctor(tmp_path).findings)
    assert "are the split: 2 train, 1 val, 1 test" in message
    assert names_of(open_folder(tmp_path, "val", val_pattern="test/*")) == ["d"], "a rule goes before folders"


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (["train/a", "b"], ["named after a split", "train/a", "b"]),
        (["train/a", "val/b", "more/c"], ["named after a split", "more/c"]),
        (["train/a", "val/b", "valid/c"], ["val and valid"]),
        (["train/a", "test/b"], ["none for val"]),
    ],
)
def test_a_mixture_of_split_folders_and_others_is_refused(tmp_path: Path, places: list[str], words: list[str]) -> None:
    for place in places:
        image(tmp_path / "images" / f"{place}.png")
        mask(tmp_path / "masks" / f"{place}.png", [0] * 6)
    with pytest.raises(DataError, match=says_in_order(*words)):
        open_folder(tmp_path)


def test_a_folder_valid_beside_train(tmp_path: Path) -> None:
    for place, name in (("train", "a"), ("valid", "b")):
        image(tmp_path / place / "images" / f"{name}.jpg")
        mask(tmp_path / place / "masks" / f"{name}.png", [0] * 6)
    assert names_of(open_folder(tmp_path)) == ["a"]
    assert names_of(open_folder(tmp_path, "val")) == ["b"]
    image(tmp_path / "images" / "c.png")
    with pytest.raises(DataError, match=says_in_order("images/ and train/images/")):
        open_folder(tmp_path)


def test_a_suffix_in_a_template_takes_its_other_case(tmp_path: Path) -> None:
    for number in range(10):
        image(tmp_path / "images" / f"{number}.{('jpg', 'JPG')[number % 2]}", red=number)
        mask(tmp_path / "masks" / f"{number}.{('png', 'PNG')[number % 2]}", [0, 1, 2] * 2)
    image(tmp_path / "images" / "x.jpeg")
    options = {"images": "images/{name}.jpg", "masks": "masks/{name}.png"}
    assert sum(len(open_folder(tmp_path, split, **options)) for split in ("train", "val")) == 10
    (left,) = [finding for finding in doctor(tmp_path, **options).findings if "fit no rule" in finding.text]
    assert left.files == (str(tmp_path / "images" / "x.jpeg"),)


# --- Class lists of labelling tools ---------------------------------------------------------------------------------

TOOLS = {
    "labels.txt": "__ignore__\n_background_\nroad\ncar\n",
    "_classes.csv": "Pixel Value, Class\n0, background\n1, road\n2, car\n",
    "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,0,0::\ncar:0,128,0::\n",
    "class_dict.csv": "name,r,g,b\nbackground,0,0,0\nroad,128,0,0\ncar,0,128,0\n",
    "numbered.txt": "0: background\n1: road\n2: car\n",
    "places.txt": "0 background\n1 road\n2 car\n",
    "colors.txt": "0 0 0 background\n128 0 0 road\n0 128 0 car\n",
    "last.csv": "background, 0\nroad, 1\ncar, 2\n",
    "behind.txt": "background: 0\nroad: 1\ncar: 2\n",
    "places_behind.txt": "background 0\nroad 1\ncar 2\n",
    "bom.txt": "\ufeffbackground\r\nroad\r\ncar\r\n",
    "data.yaml": "names: {0: background, 1: road, 2: car}\nnc: 3\n",
    "list.yaml": "[background, road, car]\n",
}


@pytest.mark.parametrize("name", TOOLS)
def test_class_lists_of_tools(tmp_path: Path, name: str) -> None:
    root = pair(tmp_path, [0, 1, 2, 255, 1, 0])
    (root / name).write_bytes(TOOLS[name].encode())
    data = open_folder(root, classes=name)
    assert [each.strip("_") for each in data.classes.names] == ["background", "road", "car"]
    assert row(data) == [0, 1, 2, 255, 1, 0]
    if "128" in TOOLS[name]:
        assert data.classes.colors == ((0, 0, 0), (128, 0, 0), (0, 128, 0))


def test_values_of_a_class_list_are_the_values(tmp_path: Path) -> None:
    (tmp_path / "last.txt").write_text("car, 7\nroad|3\n")
    assert row(open_folder(pair(tmp_path, [7, 3, 7, 3, 3, 255]), classes="last.txt")) == [0, 1, 0, 1, 1, 255]
    (tmp_path / "zones.txt").write_text("zone 7\nzone 3\n")
    assert open_folder(pair(tmp_path, [1, 0] * 3), classes="zones.txt").classes.names == ("zone 7", "zone 3")
    (tmp_path / "_classes.csv").write_text("Pixel Value, Class\n7, road\n3, car\n")
    assert row(open_folder(pair(tmp_path, [7, 3, 7, 3, 3, 255]), classes="_classes.csv")) == [0, 1, 0, 1, 1, 255]


@pytest.mark.parametrize(
    "text",
    [
        "1 euro\n2 euro\n5 cents\n",
        "# my classes\nroad\ncar\n",
        "Idx\tRatio\tName\n1\t0.1\twall\n",
        "road\n__ignore__\ncar\n",
        "0, road\ncar\n",
        '{"0": "road", "1": "car"}',
        "Pixel Value, Class\n0, road\nx, car\n",
        "0, road\n0, car\n",
        "names: {1: road, 2: car}",
        "[road, true]",
        "name\nroad\nsky\n",
        "name,color\nroad,#804080\nsky,#4682b4\n",
        "name,supercategory\nroad,flat\nsky,nature\n",
        "road, 1\nsky\n",
        "road 1\nsky 0\n",
        "road 128 64 128 1\nsky 70 130 180 0\n",
        "7 road 128 64 128\n8 sky 70 130 180\n",
        "classes: [{name: road, value: 1}, {name: car, value: 0}]",
        "classes: [road, car]\nignore: [2]",
    ],
)
def test_a_class_list_that_is_not_certain_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / ("list.yaml" if text.startswith(("names", "[", "classes")) else "list.txt")
    file.write_text(text)
    with pytest.raises(DataError, match=says_in_order(file)):
        open_folder(pair(tmp_path, [0, 1] * 3), classes=file)


def test_class_files_lie_as_named_or_below_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, here = pair(tmp_path / "set", [0, 1] * 3), tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("names.txt", "table.yaml"):
        (root / name).write_text("road\ncar\n" if name.endswith("txt") else "classes: [road, car]")
        assert open_folder(root, classes=name).classes.names == ("road", "car")
        assert open_folder(Path("~/set"), classes=f"~/set/{name}").classes.names == ("road", "car")
        (here / name).write_text("car\nroad\n")
        with pytest.raises(DataError, match=says_in_order(here / name, root / name)):
            open_folder(root, classes=name)


@pytest.mark.parametrize("count", [255, 300])
def test_more_classes_than_a_label_holds_are_refused(tmp_path: Path, count: int) -> None:
    root = pair(tmp_path, [4, 253, 255] * 2, np.uint16)
    names = [f"cell {number}" for number in range(count)]
    with pytest.raises(DataError, match=says_in_order(f"There are {count} classes", "at most 254", "data.merge")):
        open_folder(root, classes=names)
    assert row(open_folder(root, classes=names[:254]))[:3] == [4, 253, 255]


def test_words_that_yaml_changes(tmp_path: Path) -> None:
    root = pair(tmp_path, [0, 1] * 3)
    tree = ["folder", f"data.root={root}", "tiny_pair"]
    with pytest.raises(RecipeError, match=says_in_order("data.classes", "quotes")):
        segdistill.doctor(*tree, "data.classes=[false,true]", quiet=True)
    with pytest.raises(RecipeError, match=says_in_order("data.values", "quotes")):
        segdistill.doctor(*tree, "data.classes=['true','false']", "data.values={0: true, 1: false}", quiet=True)
    report = segdistill.doctor(
        "folder", f"data.root={root}", "data.classes=[no,yes]", "data.values={0: yes,1:no}", quiet=True
    )
    assert report.splits["train"].of_value == {0: 1, 1: 0}
    report = segdistill.doctor("folder", f"data.root={root}", "data.classes=[a,b]", "data.values={0:1,1:a}", quiet=True)
    assert report.splits["train"].of_value == {0: 1, 1: 0}


# --- Options that would do nothing, or something else ----------------------------------------------------------------


def test_values_count_classes_before_they_are_merged(tmp_path: Path) -> None:
    root = pair(tmp_path, [7, 8, 9, 7, 8, 9])
    options = {"classes": ["road", "car", "truck", "sky"], "merge": {"truck": "car"}}
    assert row(open_folder(root, values={7: 0, 8: 2, 9: 3}, **options))[:3] == [0, 1, 2]
    assert row(open_folder(root, values={7: "road", 8: "truck", 9: "sky"}, **options))[:3] == [0, 1, 2]
    options["merge"] = {"truck": None, "car": "lorry"}
    assert row(open_folder(root, values={7: "lorry", 8: "truck", 9: "car"}, **options))[:3] == [1, 255, 1]


@pytest.mark.parametrize("rule", [{"val_every": 2}, {"val_fraction": 0.5}, {"val_pattern": "a"}])
def test_a_split_rule_that_would_do_nothing_is_refused(tmp_path: Path, rule: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=says_in_order(f"data.{next(iter(rule))}", "would do nothing")):
        open_folder(pair(tmp_path, [0] * 6), **rule)


def test_colors_nobody_named_are_not_looked_for_in_masks(tmp_path: Path) -> None:
    root = pair(tmp_path, [(128, 0, 0)] * 6)
    (root / "classes.txt").write_text("background\nplane\n")
    with pytest.raises(DataError, match=says_in_order("data.colors", "'background' has none (2 such)")):
        open_folder(root, classes=root / "classes.txt", mask_colors=True)
    with pytest.raises(DataError, match=says_in_order("data.unlisted is for masks of values")):
        open_folder(root, mask_colors=True, unlisted="void", colors={"road": [1, 2, 3]})
