"""The classes of your own folder: what mask values and colors mean, tables and lists of classes, merging."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from own_folders import open_folder, pair, row, says_in_order
from PIL import Image

import segdistill
from segdistill.core.errors import DataError
from segdistill.data.datasets.folder import Folder

# --- What mask values mean ------------------------------------------------------------------------------------------


def test_values_by_index_and_by_name(tmp_path: Path) -> None:
    root = pair(tmp_path, [7, 8, 21, 0, 255, 7])
    assert row(open_folder(root, values={7: 0, 8: "car", 21: "tree", 0: None})) == [0, 1, 2, 255, 255, 0]


def test_values_may_join_several_into_one_class(tmp_path: Path) -> None:
    root = pair(tmp_path, [1, 2, 3, 4, 1, 2])
    assert row(open_folder(root, values={1: "road", 2: "road", 3: "car", 4: "tree"})) == [0, 0, 1, 2, 0, 0]


def test_a_white_foreground(tmp_path: Path) -> None:
    root = pair(tmp_path, [0, 255, 255, 0, 0, 0])
    dataset = open_folder(root, classes=["background", "crack"], values={0: 0, 255: 1})
    assert row(dataset) == [0, 1, 1, 0, 0, 0]


def test_values_that_are_not_named(tmp_path: Path) -> None:
    root = pair(tmp_path, [7, 8, 9, 7, 7, 7])
    with pytest.raises(DataError, match=says_in_order("value 9;", "7..8", "data.values", "data.void")):
        open_folder(root, values={7: 0, 8: 1})[0]
    assert row(open_folder(root, values={7: 0, 8: 1}, unlisted="void")) == [0, 1, 255, 0, 0, 0]
    assert row(open_folder(root, values={7: 0, 8: 1}, void=[9, 77])) == [0, 1, 255, 0, 0, 0]


def test_masks_of_16_bits(tmp_path: Path) -> None:
    root = pair(tmp_path, [1000, 40000, 3, 65535, 3, 3], np.uint16)
    assert row(open_folder(root, values={1000: 0, 40000: 1, 3: 2}, void=[65535])) == [0, 1, 2, 255, 2, 2]
    with pytest.raises(DataError, match=says_in_order("the value 3", "0..2", "data.values")):
        open_folder(root)[0]


def test_values_of_classes_that_are_none_are_refused(tmp_path: Path) -> None:
    root = pair(tmp_path, [0] * 6)
    for values, says in (({1: "rode"}, "Did you mean 'road'?"), ({1: 3}, "0..2"), ({70000: 0}, "70000")):
        with pytest.raises(DataError, match=re.escape(says)):
            open_folder(root, values=values)


def test_painted_masks(tmp_path: Path) -> None:
    colors = {"road": [128, 64, 128], "car": "#00008e", "tree": [107, 142, 35]}
    painted = [(128, 64, 128), (0, 0, 142), (107, 142, 35), (0, 0, 0), (0, 0, 142), (128, 64, 128)]
    root = pair(tmp_path, painted)
    options = {"mask_colors": True, "colors": colors}
    dataset = open_folder(root, void=[[0, 0, 0]], **options)
    assert row(dataset) == [0, 1, 2, 255, 1, 0]
    assert dataset.classes.colors == ((128, 64, 128), (0, 0, 142), (107, 142, 35))
    with pytest.raises(
        DataError, match=says_in_order("a.png", "the color (0, 0, 0)", "(128, 64, 128)", "data.void=[[r, g, b]]")
    ):
        open_folder(root, **options)[0]
    with pytest.raises(DataError, match=says_in_order("mode RGB", "data.mask_colors=true")):
        open_folder(root)[0]


def test_a_palette_mask_by_its_colors(tmp_path: Path) -> None:
    root = pair(tmp_path, [0] * 6)
    picture = Image.fromarray(np.array([[5, 9, 5, 9, 9, 9]] * 4, np.uint8), mode="P")
    palette = [0] * 768
    palette[15:18], palette[27:30] = (200, 0, 0), (0, 200, 0)
    picture.putpalette(palette)
    picture.save(root / "train" / "masks" / "a.png")
    dataset = open_folder(root, classes=["a", "b"], colors={"a": [0, 200, 0], "b": [200, 0, 0]}, mask_colors=True)
    assert row(dataset) == [1, 0, 1, 0, 0, 0]


def test_two_classes_of_one_color_are_refused_where_colors_count(tmp_path: Path) -> None:
    root = pair(tmp_path, [(1, 1, 1)] * 6)
    colors = {"road": [1, 1, 1], "car": [1, 1, 1], "tree": [2, 2, 2]}
    with pytest.raises(DataError, match="'road' and 'car' share the color"):
        open_folder(root, mask_colors=True, colors=colors)
    with pytest.raises(DataError, match=r"needs data\.colors"):
        open_folder(root, mask_colors=True)


def test_grey_indices_saved_as_rgb_are_recognised(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="three channels are equal"):
        open_folder(pair(tmp_path, [(1, 1, 1), (2, 2, 2)] * 3))[0]


def test_a_class_table(tmp_path: Path) -> None:
    root = pair(tmp_path, [7, 8, 9, 26, 3, 255])
    (root / "table.yaml").write_text(
        "classes:\n  - {name: flat, id: [7, 8, 9], color: [1, 2, 3]}\n  - {name: car, id: 26, color: '#ff0000'}\n"
        "void: {3: out of view}\n"
    )
    dataset = open_folder(root, classes="table.yaml")
    assert row(dataset) == [0, 0, 0, 1, 255, 255]
    assert (dataset.classes.names, dataset.classes.colors) == (("flat", "car"), ((1, 2, 3), (255, 0, 0)))


@pytest.mark.parametrize(
    ("file", "text"),
    [("names.txt", "road\ncar\n"), ("table.yaml", "{classes: [road, car], void: [9]}"), ("classes.txt", "road\ncar\n")],
)
@pytest.mark.parametrize("values", [[0, 1, 2] * 2, [1, 2] * 3])
def test_a_class_list_that_is_too_short_is_named_with_its_length(
    file: str, text: str, values: list[int], tmp_path: Path
) -> None:
    root = pair(tmp_path, values)
    (root / file).write_text(text)
    dataset = open_folder(root, classes=None if file == "classes.txt" else root / file)
    with pytest.raises(DataError, match=says_in_order("a.png", "value 2", "0..1", "2 classes of", root / file)):
        dataset[0]


@pytest.mark.parametrize("void", ["x", "{x: 1}", "[[9]]", "[-1]", "1.5"])
def test_void_values_of_a_class_table_that_are_none_are_refused(void: str, tmp_path: Path) -> None:
    root = pair(tmp_path, [0, 1] * 3)
    (root / "table.yaml").write_text(f"{{classes: [road, car], void: {void}}}")
    with pytest.raises(DataError, match=says_in_order(root / "table.yaml", "void", "expected a mask value")):
        open_folder(root, classes="table.yaml")


def test_doctor_names_a_class_list_that_is_too_short(tmp_path: Path) -> None:
    root = pair(tmp_path, [0, 1, 2] * 2)
    (root / "classes.txt").write_text("road\ncar\n")
    diagnosis = segdistill.doctor("folder", f"data.root={root}", quiet=True)
    assert any(f"2 classes of {root / 'classes.txt'}" in problem.text for problem in diagnosis.problems)


def test_a_class_table_of_painted_masks_is_named(tmp_path: Path) -> None:
    root = pair(tmp_path, [(9, 0, 0), (0, 9, 0), (0, 0, 9)] * 2)
    (root / "table.yaml").write_text("classes: [{name: a, color: [9, 0, 0]}, {name: b, color: [0, 9, 0]}]")
    with pytest.raises(DataError, match=says_in_order("(0, 0, 9)", "2 classes of", root / "table.yaml")):
        open_folder(root, classes="table.yaml", mask_colors=True)[0]


def test_a_file_is_not_blamed_where_the_values_are_the_recipes(tmp_path: Path) -> None:
    root = pair(tmp_path, [0, 1, 5] * 2)
    (root / "classes.txt").write_text("road\ncar\n")
    for options in ({"classes": None, "values": {0: 0, 1: 1}}, {"classes": ["a", "b"]}):
        with pytest.raises(DataError, match="value 5") as caught:
            open_folder(root, **options)[0]
        assert "classes.txt" not in str(caught.value)


def test_a_file_of_classes_that_does_not_do_is_named(tmp_path: Path) -> None:
    root = pair(tmp_path, [0, 1, 2] * 2)
    (root / "names.txt").write_text("road\nroad\n")
    with pytest.raises(DataError, match=says_in_order("'road' twice", root / "names.txt")):
        open_folder(root, classes=root / "names.txt")


# --- Merging classes ------------------------------------------------------------------------------------------------


def test_classes_merged_by_name(tmp_path: Path) -> None:
    root = pair(tmp_path, [0, 1, 2, 3, 4, 255])
    names = ["road", "car", "truck", "rider", "sky"]
    merged = open_folder(root, classes=names, merge={"truck": "car", "rider": None})
    assert merged.classes.names == ("road", "car", "sky")
    assert row(merged) == [0, 1, 1, 255, 2, 255]
    renamed = open_folder(root, classes=names, merge={"car": "vehicle", "truck": "vehicle"})
    assert renamed.classes.names == ("road", "vehicle", "rider", "sky")
    assert row(renamed) == [0, 1, 1, 2, 3, 255]


def test_painted_masks_with_merged_classes(tmp_path: Path) -> None:
    root = pair(tmp_path, [(9, 0, 0), (0, 9, 0), (0, 0, 9)] * 2)
    colors = {"road": [9, 0, 0], "car": [0, 9, 0], "tree": [0, 0, 9]}
    dataset = open_folder(root, mask_colors=True, colors=colors, merge={"tree": "road"})
    assert row(dataset) == [0, 1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("merge", "says"),
    [
        ({"lorry": "car"}, "no class is called 'lorry'"),
        ({"road": "car", "car": "tree"}, "'road' goes into 'car', which itself goes into 'tree'"),
        ({"road": "car", "tree": "car"}, "leaves 1 class"),
    ],
)
def test_a_merge_that_makes_no_sense_is_refused(tmp_path: Path, merge: dict[str, str], says: str) -> None:
    with pytest.raises(DataError, match=re.escape(says)):
        open_folder(pair(tmp_path, [0] * 6), merge=merge)


def test_a_file_of_classes_may_be_text_in_python(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("RGB" if name == "images" else "L", (8, 4)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "names.txt").write_text("road\ncar\n")
    assert Folder(root=tmp_path, classes=str(tmp_path / "names.txt")).classes.names == ("road", "car")
