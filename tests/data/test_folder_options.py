"""Your own folder, with options: name templates, lists, splits, what mask values mean, images without labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image

import segdistill
from segdistill.data import DatasetConfig, SegmentationDataset, create_dataset
from segdistill.errors import DataError

CLASSES = ["road", "car", "tree"]
Split = Literal["train", "val"]


def _image(path: Path, red: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (red, 0, 0)).save(path)


def _mask(path: Path, values: list[Any], dtype: type = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([values] * 4, dtype)).save(path)


def _pair(root: Path, values: list[Any], dtype: type = np.uint8) -> Path:
    """images/a.png and masks/a.png in the training folder."""
    _image(root / "train" / "images" / "a.png")
    _mask(root / "train" / "masks" / "a.png", values, dtype)
    return root


def _open(root: Path, split: Split = "train", **options: Any) -> SegmentationDataset:
    tree = {"name": "folder", "root": root, "classes": CLASSES, **options}
    return create_dataset(DatasetConfig.model_validate(tree), split)


def _row(dataset: SegmentationDataset) -> list[int]:
    return dataset[0].label[0].tolist()


def _names(dataset: SegmentationDataset) -> list[str]:
    return [dataset[index].name for index in range(len(dataset))]


def _says(*parts: object) -> str:
    return "(?s)" + ".*".join(re.escape(str(part)) for part in parts)


# --- Name templates -------------------------------------------------------------------------------------------------


def test_templates_with_split_folders_and_cities(tmp_path: Path) -> None:
    for split, city, frame in (("train", "a", 1), ("train", "b", 1), ("val", "c", 2)):
        _image(tmp_path / "photos" / split / city / f"{frame}_left.jpg")
        _mask(tmp_path / "truth" / split / city / f"{frame}_ids.png", [ord(city) - ord("a")] * 6)
    templates = {"images": "photos/{split}/{name}_left.jpg", "masks": "truth/{split}/{name}_ids.png"}
    train = _open(tmp_path, **templates)
    assert [_names(train), _names(_open(tmp_path, "val", **templates))] == [["1_left", "1_left"], ["2_left"]]
    assert [train[index].label.unique().tolist() for index in range(2)] == [[0], [1]]


def test_templates_may_be_absolute_and_leave_the_suffix_open(tmp_path: Path) -> None:
    for name in "ab":
        _image(tmp_path / "elsewhere" / f"{name}.jpeg")
        _mask(tmp_path / "set" / "m" / f"{name}.tif", [1] * 6)
    images = f"{tmp_path}/elsewhere/{{name}}"
    assert _names(_open(tmp_path / "set", images=images, masks="m/{name}", val_every=2)) == ["a"]


def test_a_star_is_anything_within_a_name(tmp_path: Path) -> None:
    _image(tmp_path / "i" / "0001_20240501.png")
    _image(tmp_path / "i" / "0002_20240502.png")
    for name in ("0001", "0002"):
        _mask(tmp_path / "m" / f"{name}.png", [2] * 6)
    dataset = _open(tmp_path, images="i/{name}_*.png", masks="m/{name}.png", val_every=2)
    assert _names(dataset) == ["0001_20240501"]


def test_an_image_without_a_mask_is_named_by_the_template(tmp_path: Path) -> None:
    _image(tmp_path / "train" / "x" / "7.jpg")
    (tmp_path / "truth").mkdir()
    with pytest.raises(DataError, match=_says("1 of 1 images", "7.jpg", tmp_path / "truth" / "x" / "7_ids.png")):
        _open(tmp_path, images="{split}/{name}.jpg", masks="truth/{name}_ids.png")


@pytest.mark.parametrize("template", ["photos/*.jpg", "photos/{name}/{name}.jpg"])
def test_a_template_holds_the_name_once(tmp_path: Path, template: str) -> None:
    with pytest.raises(DataError, match=_says(template, "{name}")):
        _open(tmp_path, images=template)


# --- Which image is in which split ----------------------------------------------------------------------------------


def _many(root: Path, names: list[str]) -> Path:
    for name in names:
        _image(root / "images" / f"{name}.png")
        _mask(root / "masks" / f"{name}.png", [0] * 6)
    return root


def test_a_seeded_fraction(tmp_path: Path) -> None:
    root = _many(tmp_path, [f"{i:02d}" for i in range(20)])
    train, val = (_names(_open(root, split, val_fraction=0.25)) for split in ("train", "val"))
    assert len(val) == 5
    assert sorted(train + val) == [f"{i:02d}" for i in range(20)]
    assert val != _names(_open(root, "val", val_fraction=0.25, split_seed=1))
    assert val != [f"{i:02d}" for i in range(5)]


def test_more_images_do_not_move_those_of_a_fraction_into_training(tmp_path: Path) -> None:
    root = _many(tmp_path, [f"{i:02d}" for i in range(20)])
    before = set(_names(_open(root, "val", val_fraction=0.5)))
    _many(tmp_path, ["99"])
    after = set(_names(_open(root, "val", val_fraction=0.5)))
    assert len(before - after) <= 1


def test_a_pattern(tmp_path: Path) -> None:
    root = _many(tmp_path, ["day/1", "day/2", "night/1", "dusk-3"])
    assert _names(_open(root, "val", val_pattern="night/*")) == ["1"]
    assert _names(_open(root, val_pattern=["night/*", "dusk*"])) == ["1", "2"]
    with pytest.raises(DataError, match=_says("fog/*", "0 of 4 images", "day/1")):
        _open(root, val_pattern="fog/*")


def test_list_files_by_name(tmp_path: Path) -> None:
    root = _many(tmp_path, ["a", "b", "sub/c"])
    (root / "mine.lst").write_text("b\nimages/sub/c.png\n")
    (root / "train.txt").write_text("a\n")
    lists = {"val": "mine.lst"}
    assert _names(_open(root, "val", lists=lists)) == ["b", "c"]
    assert _names(_open(root, lists=lists)) == ["a"]


def test_a_list_of_images_and_masks(tmp_path: Path) -> None:
    _image(tmp_path / "left" / "1.png")
    _mask(tmp_path / "truth" / "one.png", [2] * 6)
    (tmp_path / "train.lst").write_text("left/1.png\ttruth/one.png\n")
    assert _row(_open(tmp_path, lists={"train": "train.lst"})) == [2] * 6
    (tmp_path / "train.lst").write_text("left/1.png truth/two.png\n")
    with pytest.raises(DataError, match=_says("1 of 2 files", tmp_path / "truth" / "two.png")):
        _open(tmp_path, lists={"train": "train.lst"})


def test_a_rule_goes_before_list_files_that_lie_about(tmp_path: Path) -> None:
    root = _many(tmp_path, list("abcd"))
    (root / "val.txt").write_text("a\n")
    assert _names(_open(root, "val", val_every=2)) == ["b", "d"]


def test_two_rules_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=_says("data.val_every and data.val_fraction")):
        _open(_many(tmp_path, list("ab")), val_every=2, val_fraction=0.5)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_a_fraction_that_splits_nothing_is_refused(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(DataError, match="val_fraction"):
        _open(_many(tmp_path, list("ab")), val_fraction=fraction)


# --- What mask values mean ------------------------------------------------------------------------------------------


def test_values_by_index_and_by_name(tmp_path: Path) -> None:
    root = _pair(tmp_path, [7, 8, 21, 0, 255, 7])
    assert _row(_open(root, values={7: 0, 8: "car", 21: "tree", 0: None})) == [0, 1, 2, 255, 255, 0]


def test_values_may_join_several_into_one_class(tmp_path: Path) -> None:
    root = _pair(tmp_path, [1, 2, 3, 4, 1, 2])
    assert _row(_open(root, values={1: "road", 2: "road", 3: "car", 4: "tree"})) == [0, 0, 1, 2, 0, 0]


def test_a_white_foreground(tmp_path: Path) -> None:
    root = _pair(tmp_path, [0, 255, 255, 0, 0, 0])
    dataset = _open(root, classes=["background", "crack"], values={0: 0, 255: 1})
    assert _row(dataset) == [0, 1, 1, 0, 0, 0]


def test_values_that_are_not_named(tmp_path: Path) -> None:
    root = _pair(tmp_path, [7, 8, 9, 7, 7, 7])
    with pytest.raises(DataError, match=_says("value 9;", "7..8", "data.values", "data.void")):
        _open(root, values={7: 0, 8: 1})[0]
    assert _row(_open(root, values={7: 0, 8: 1}, unlisted="void")) == [0, 1, 255, 0, 0, 0]
    assert _row(_open(root, values={7: 0, 8: 1}, void=[9, 77])) == [0, 1, 255, 0, 0, 0]


def test_masks_of_16_bits(tmp_path: Path) -> None:
    root = _pair(tmp_path, [1000, 40000, 3, 65535, 3, 3], np.uint16)
    assert _row(_open(root, values={1000: 0, 40000: 1, 3: 2}, void=[65535])) == [0, 1, 2, 255, 2, 2]
    with pytest.raises(DataError, match=_says("mode I;16", "data.values")):
        _open(root)[0]


def test_values_of_classes_that_are_none_are_refused(tmp_path: Path) -> None:
    root = _pair(tmp_path, [0] * 6)
    for values, says in (({1: "rode"}, "Did you mean 'road'?"), ({1: 3}, "0..2"), ({70000: 0}, "70000")):
        with pytest.raises(DataError, match=re.escape(says)):
            _open(root, values=values)


def test_painted_masks(tmp_path: Path) -> None:
    colours = {"road": [128, 64, 128], "car": "#00008e", "tree": [107, 142, 35]}
    row = [(128, 64, 128), (0, 0, 142), (107, 142, 35), (0, 0, 0), (0, 0, 142), (128, 64, 128)]
    root = _pair(tmp_path, row)
    options = {"mask_colours": True, "colours": colours}
    dataset = _open(root, void=[[0, 0, 0]], **options)
    assert _row(dataset) == [0, 1, 2, 255, 1, 0]
    assert dataset.classes.colours == ((128, 64, 128), (0, 0, 142), (107, 142, 35))
    with pytest.raises(
        DataError, match=_says("a.png", "the colour (0, 0, 0)", "(128, 64, 128)", "data.void=[[r, g, b]]")
    ):
        _open(root, **options)[0]
    with pytest.raises(DataError, match=_says("mode RGB", "data.mask_colours=true")):
        _open(root)[0]


def test_a_palette_mask_by_its_colours(tmp_path: Path) -> None:
    root = _pair(tmp_path, [0] * 6)
    picture = Image.fromarray(np.array([[5, 9, 5, 9, 9, 9]] * 4, np.uint8), mode="P")
    palette = [0] * 768
    palette[15:18], palette[27:30] = (200, 0, 0), (0, 200, 0)
    picture.putpalette(palette)
    picture.save(root / "train" / "masks" / "a.png")
    dataset = _open(root, classes=["a", "b"], colours={"a": [0, 200, 0], "b": [200, 0, 0]}, mask_colours=True)
    assert _row(dataset) == [1, 0, 1, 0, 0, 0]


def test_two_classes_of_one_colour_are_refused_where_colours_count(tmp_path: Path) -> None:
    root = _pair(tmp_path, [(1, 1, 1)] * 6)
    colours = {"road": [1, 1, 1], "car": [1, 1, 1]}
    with pytest.raises(DataError, match="'road' and 'car' share the colour"):
        _open(root, mask_colours=True, colours=colours)
    with pytest.raises(DataError, match=r"needs data\.colours"):
        _open(root, mask_colours=True)


def test_grey_indices_saved_as_rgb_are_recognised(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="three channels are equal"):
        _open(_pair(tmp_path, [(1, 1, 1), (2, 2, 2)] * 3))[0]


def test_a_class_table(tmp_path: Path) -> None:
    root = _pair(tmp_path, [7, 8, 9, 26, 3, 255])
    (root / "table.yaml").write_text(
        "classes:\n  - {name: flat, id: [7, 8, 9], colour: [1, 2, 3]}\n  - {name: car, id: 26, colour: '#ff0000'}\n"
        "void: {3: out of view}\n"
    )
    dataset = _open(root, classes="table.yaml")
    assert _row(dataset) == [0, 0, 0, 1, 255, 255]
    assert (dataset.classes.names, dataset.classes.colours) == (("flat", "car"), ((1, 2, 3), (255, 0, 0)))


@pytest.mark.parametrize(
    ("file", "text"),
    [("names.txt", "road\ncar\n"), ("table.yaml", "{classes: [road, car], void: [9]}"), ("classes.txt", "road\ncar\n")],
)
@pytest.mark.parametrize("values", [[0, 1, 2] * 2, [1, 2] * 3])
def test_a_class_list_that_is_too_short_is_named_with_its_length(
    file: str, text: str, values: list[int], tmp_path: Path
) -> None:
    root = _pair(tmp_path, values)
    (root / file).write_text(text)
    dataset = _open(root, classes=None if file == "classes.txt" else root / file)
    with pytest.raises(DataError, match=_says("a.png", "value 2", "0..1", "2 classes of", root / file)):
        dataset[0]


@pytest.mark.parametrize("void", ["x", "{x: 1}", "[[9]]", "[-1]", "1.5"])
def test_void_values_of_a_class_table_that_are_none_are_refused(void: str, tmp_path: Path) -> None:
    root = _pair(tmp_path, [0, 1] * 3)
    (root / "table.yaml").write_text(f"{{classes: [road, car], void: {void}}}")
    with pytest.raises(DataError, match=_says(root / "table.yaml", "void", "expected a mask value")):
        _open(root, classes="table.yaml")


def test_doctor_names_a_class_list_that_is_too_short(tmp_path: Path) -> None:
    root = _pair(tmp_path, [0, 1, 2] * 2)
    (root / "classes.txt").write_text("road\ncar\n")
    found = segdistill.doctor("folder", f"data.root={root}", quiet=True)
    assert any(f"2 classes of {root / 'classes.txt'}" in problem.text for problem in found.problems)


def test_a_class_table_of_painted_masks_is_named(tmp_path: Path) -> None:
    root = _pair(tmp_path, [(9, 0, 0), (0, 9, 0), (0, 0, 9)] * 2)
    (root / "table.yaml").write_text("classes: [{name: a, colour: [9, 0, 0]}, {name: b, colour: [0, 9, 0]}]")
    with pytest.raises(DataError, match=_says("(0, 0, 9)", "2 classes of", root / "table.yaml")):
        _open(root, classes="table.yaml", mask_colours=True)[0]


def test_a_file_is_not_blamed_where_the_values_are_the_recipes(tmp_path: Path) -> None:
    root = _pair(tmp_path, [0, 1, 5] * 2)
    (root / "classes.txt").write_text("road\ncar\n")
    for options in ({"classes": None, "values": {0: 0, 1: 1}}, {"classes": ["a", "b"]}):
        with pytest.raises(DataError, match="value 5") as caught:
            _open(root, **options)[0]
        assert "classes.txt" not in str(caught.value)


def test_a_file_of_classes_that_does_not_do_is_named(tmp_path: Path) -> None:
    root = _pair(tmp_path, [0, 1, 2] * 2)
    (root / "names.txt").write_text("road\nroad\n")
    with pytest.raises(DataError, match=_says("'road' twice", root / "names.txt")):
        _open(root, classes=root / "names.txt")


# --- Merging classes ------------------------------------------------------------------------------------------------


def test_classes_merged_by_name(tmp_path: Path) -> None:
    root = _pair(tmp_path, [0, 1, 2, 3, 4, 255])
    names = ["road", "car", "truck", "rider", "sky"]
    merged = _open(root, classes=names, merge={"truck": "car", "rider": None})
    assert merged.classes.names == ("road", "car", "sky")
    assert _row(merged) == [0, 1, 1, 255, 2, 255]
    renamed = _open(root, classes=names, merge={"car": "vehicle", "truck": "vehicle"})
    assert renamed.classes.names == ("road", "vehicle", "rider", "sky")
    assert _row(renamed) == [0, 1, 1, 2, 3, 255]


def test_painted_masks_with_merged_classes(tmp_path: Path) -> None:
    root = _pair(tmp_path, [(9, 0, 0), (0, 9, 0), (0, 0, 9)] * 2)
    colours = {"road": [9, 0, 0], "car": [0, 9, 0], "tree": [0, 0, 9]}
    dataset = _open(root, mask_colours=True, colours=colours, merge={"tree": "road"})
    assert _row(dataset) == [0, 1, 0, 0, 1, 0]


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
        _open(_pair(tmp_path, [0] * 6), merge=merge)


# --- Images without labels ------------------------------------------------------------------------------------------


def test_no_labels_at_all(tmp_path: Path) -> None:
    for name in "abcde":
        _image(tmp_path / "images" / f"{name}.png")
    for split in ("train", "val"):
        dataset = _open(tmp_path, split, labels="none")
        assert dataset[0].label.unique().tolist() == [255]
        assert dataset[0].label.shape == dataset[0].image.shape[1:]


def test_unlabelled_training_is_still_validated(tmp_path: Path) -> None:
    for split in ("train", "val"):
        _image(tmp_path / split / "images" / "a.png")
    _mask(tmp_path / "val" / "masks" / "a.png", [1] * 6)
    assert _open(tmp_path, labels="none")[0].label.unique().tolist() == [255]
    assert _open(tmp_path, "val", labels="none")[0].label.unique().tolist() == [1]


def test_some_labels(tmp_path: Path) -> None:
    root = _pair(tmp_path, [1] * 6)
    _image(root / "train" / "images" / "b.png")
    with pytest.raises(DataError, match=_says("1 of 2 images have no mask", "data.labels=some")):
        _open(root)
    dataset = _open(root, labels="some")
    assert [dataset[index].label.unique().tolist() for index in range(2)] == [[1], [255]]


def test_a_method_without_labels_trains_on_unlabelled_images(tmp_path: Path) -> None:
    import segdistill
    from segdistill.data.streets import Streets

    scenes = Streets(size=(32, 48), count=6)
    for index in range(6):
        picture = Image.fromarray(scenes[index].image.permute(1, 2, 0).numpy())
        (tmp_path / "images").mkdir(exist_ok=True)
        picture.save(tmp_path / "images" / f"{index}.png")
    recipe = (
        "folder", f"data.root={tmp_path}", f"data.classes={list(Streets.classes.names)}", "data.labels=none",
        "augment.crop=[32,48]", "steps=4", "batch_size=2", "workers=0",
        "student={backbone: mobilenetv2_035, head: pspnet, channels: 8, output_stride: 16, auxiliary_channels: 8}",
    )  # fmt: skip
    teacher = segdistill.train(
        "streets", "data.size=[32,48]", "data.count=6", "augment.crop=[32,48]", "steps=2", "batch_size=2", "workers=0",
        recipe[-1], run=tmp_path / "teacher", quiet=True,
    )  # fmt: skip
    done = segdistill.distill(
        *recipe, "kd", run=tmp_path / "run", quiet=True, baseline="none", teacher={"run": str(teacher.folder)}
    )
    lines = (done.folder / "metrics.jsonl").read_text()
    assert '"kd' in lines
    assert "NaN" not in lines
    student = segdistill.load_model(done.folder)
    assert all(torch.isfinite(value).all() for value in student.state_dict().values() if value.is_floating_point())
