"""The published layouts in small: what is found, what is missing, and a root one level off."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import pytest
from layouts import MAKE, ade20k, cityscapes, coco_stuff, pascal_context, voc, write_image, write_lines, write_mask

from segdistill.core.errors import DataError, RecipeError
from segdistill.data import DatasetConfig, SegmentationDataset, create_dataset
from segdistill.data.datasets.cityscapes import CITIES, Cityscapes
from segdistill.recipe.recipe import load_recipe

Split = Literal["train", "val"]
INSIDE = {
    "cityscapes": "leftImg8bit/train",
    "ade20k": "annotations",
    "pascal_context": "JPEGImages",
    "voc": "ImageSets/Segmentation",
    "coco_stuff": "images/val2017",
}
OFFICIAL = {
    "cityscapes": (2975, 500),
    "ade20k": (20210, 2000),
    "pascal_context": (4998, 5105),
    "voc": (10582, 1449),
    "coco_stuff": (118287, 5000),
}


def _open(name: str, root: Path, split: Split = "train", **options: Any) -> SegmentationDataset:
    return create_dataset(DatasetConfig.model_validate({"name": name, "root": root, "partial": True, **options}), split)


def _names(dataset: SegmentationDataset) -> list[str]:
    return [dataset[index].name for index in range(len(dataset))]


def _row(dataset: SegmentationDataset, index: int = 0) -> list[int]:
    return dataset[index].label[0].tolist()


def _says(*parts: object) -> str:
    return "(?s)" + ".*".join(re.escape(str(part)) for part in parts)


# --- All of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_partial_download_is_named_with_both_counts(tmp_path: Path, name: str, split: Split) -> None:
    root = MAKE[name](tmp_path)
    count = len(_open(name, root, split))
    expected = OFFICIAL[name][split == "val"]
    with pytest.raises(DataError, match=_says(f"{count} of {expected} images", "data.partial=true")):
        _open(name, root, split, partial=False)


@pytest.mark.parametrize("name", MAKE)
def test_a_missing_mask_is_named_and_partial_leaves_its_image_out(tmp_path: Path, name: str) -> None:
    root = MAKE[name](tmp_path)
    before = _names(_open(name, root))
    lost = sorted(
        path for path in root.rglob("*.png") if "train" in str(path.relative_to(root)) and "left" not in path.name
    )
    lost = [path for path in lost if "gtFine" in str(path)] or lost or sorted(root.glob("SegmentationClassContext/*"))
    first = lost[0] if name != "voc" else root / "SegmentationClassAug" / "extra.png"
    first.unlink()
    with pytest.raises(DataError, match=_says(first)):
        _open(name, root, partial=False)
    assert len(_open(name, root)) == len(before) - 1


@pytest.mark.parametrize("name", MAKE)
def test_a_root_that_is_too_high_or_too_low_is_corrected(tmp_path: Path, name: str) -> None:
    root = MAKE[name](tmp_path / "data" / "set")
    for wrong, word in ((tmp_path, "too high"), (tmp_path / "data", "too high"), (root / INSIDE[name], "too low")):
        with pytest.raises(DataError, match=_says(wrong, word, f"data.root={root}")):
            _open(name, wrong)


@pytest.mark.parametrize("name", MAKE)
def test_another_folder_is_answered_with_what_belongs_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=_says(tmp_path, "holds no", "data.root must", "from")):
        _open(name, tmp_path)
    with pytest.raises(DataError, match=_says("No folder", tmp_path / "nowhere")):
        _open(name, tmp_path / "nowhere")


@pytest.mark.parametrize("name", MAKE)
def test_a_value_that_is_no_label_names_the_file(tmp_path: Path, name: str) -> None:
    root = MAKE[name](tmp_path)
    for path in root.rglob("*.png"):
        if "leftImg8bit" not in path.name:
            write_mask(path, [0, 0, 0, 200, 0, 0])
    with pytest.raises(DataError, match=_says(".png", "value 200;", "16.7 %")):
        _open(name, root)[0]


@pytest.mark.parametrize("name", [*MAKE, "pascal_context60", "coco_stuff182"])
def test_a_recipe_needs_no_more_than_the_name(name: str) -> None:
    recipe = load_recipe(name)
    assert name.startswith(recipe.data.name)


def test_a_wrong_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="num_classes"):
        _open("coco_stuff", tmp_path, num_classes=181)


# --- Cityscapes -----------------------------------------------------------------------------------------------------


def test_cities_add_up_to_the_official_counts() -> None:
    assert {part: sum(cities.values()) for part, cities in CITIES.items()} == {"train": 2975, "val": 500, "test": 1525}


def test_cityscapes_label_ids_and_train_ids(tmp_path: Path) -> None:
    root = cityscapes(tmp_path)
    assert _row(_open("cityscapes", root)) == [255, 0, 1, 255, 18, 255]
    for ids in root.rglob("*labelIds.png"):
        write_mask(ids.with_name(ids.name.replace("labelIds", "labelTrainIds")), [0, 1, 18, 255, 5, 6])
    assert _row(_open("cityscapes", root)) == [0, 1, 18, 255, 5, 6]
    assert _row(_open("cityscapes", root, labels="labelIds")) == [255, 0, 1, 255, 18, 255]


def test_cityscapes_takes_the_masks_that_all_images_have(tmp_path: Path) -> None:
    root = cityscapes(tmp_path)
    write_mask(
        next(root.rglob("aachen*gtFine_labelIds.png")).with_name("aachen_000000_000001_gtFine_labelTrainIds.png"),
        [18] * 6,
    )
    assert _row(_open("cityscapes", root)) == [255, 0, 1, 255, 18, 255]


def test_cityscapes_fine_coarse_and_both(tmp_path: Path) -> None:
    root = cityscapes(tmp_path)
    names = [f"{city}_000000_000001_leftImg8bit" for city in ("aachen", "ulm", "augsburg")]
    fine, coarse, both = (_open("cityscapes", root, train=train) for train in ("fine", "coarse", "both"))
    assert _names(fine) == names[:2]
    assert _names(coarse) == _names(both) == names
    assert [_row(coarse, i) for i in range(3)] == [[0, 0, 0, 255, 255, 255]] * 3
    assert [_row(both, i)[4] for i in range(3)] == [18, 18, 255]
    assert _names(_open("cityscapes", root, "val", train="both")) == ["lindau_000000_000001_leftImg8bit"]
    with pytest.raises(DataError, match="3 of 22973 images"):
        _open("cityscapes", root, train="both", partial=False)


def test_cityscapes_test_images_have_no_labels(tmp_path: Path) -> None:
    write_image(tmp_path / "leftImg8bit" / "test" / "bonn" / "bonn_000000_000001_leftImg8bit.png")
    dataset = Cityscapes(root=tmp_path, split="test", partial=True)
    assert dataset[0].label.unique().tolist() == [255]


def test_cityscapes_says_which_city_is_not_complete(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=_says("leftImg8bit/train/aachen", "1 of 174")):
        _open("cityscapes", cityscapes(tmp_path), partial=False)


def test_cityscapes_with_polygons_only_says_how_to_draw_them(tmp_path: Path) -> None:
    root = cityscapes(tmp_path)
    for ids in root.rglob("*_labelIds.png"):
        ids.with_name(ids.name.replace("labelIds.png", "polygons.json")).write_text("{}")
        ids.unlink()
    with pytest.raises(DataError, match=_says("polygons and no masks", "segdistill prepare cityscapes")):
        _open("cityscapes", root)


def test_cityscapes_without_masks_says_which_folder_is_missing(tmp_path: Path) -> None:
    write_image(tmp_path / "leftImg8bit" / "train" / "aachen" / "a_leftImg8bit.png")
    with pytest.raises(DataError, match=_says("leftImg8bit", "but no gtFine", "gtFine_trainvaltest.zip")):
        _open("cityscapes", tmp_path)


# --- The others -----------------------------------------------------------------------------------------------------


def test_ade20k(tmp_path: Path) -> None:
    root = ade20k(tmp_path)
    assert _names(_open("ade20k", root)) == [f"ADE_train_{number:08d}" for number in (1, 2, 3)]
    assert _row(_open("ade20k", root, "val"), 1) == [255, 0, 149, 1, 255, 1]
    with pytest.raises(DataError, match=_says("first", "ADE_val_00000003.jpg")):
        _open("ade20k", root, "val", partial=False)


def test_pascal_context(tmp_path: Path) -> None:
    root = pascal_context(tmp_path)
    plain, whole = _open("pascal_context", root), _open("pascal_context", root, num_classes=60)
    official = _open("pascal_context", root, order="official")
    assert _row(plain) == [255, 0, 1, 5, 36, 58]
    assert _row(whole) == [0, 1, 2, 6, 37, 59]
    named = [official.classes.names[index] for index in _row(official)[1:]]
    assert named == ["aeroplane", "bicycle", "bus", "ground", "wood"]


def test_pascal_context_masks_may_lie_elsewhere(tmp_path: Path) -> None:
    root = pascal_context(tmp_path / "set")
    (root / "SegmentationClassContext").rename(tmp_path / "made")
    assert len(_open("pascal_context", root, masks=tmp_path / "made")) == 2


def test_voc_augmented_and_plain(tmp_path: Path) -> None:
    root = voc(tmp_path)
    assert _names(_open("voc", root)) == ["extra", "train"]
    assert _row(_open("voc", root)) == [0, 1, 20, 255, 15, 0]
    assert _names(_open("voc", root, augmented=False)) == ["train"]
    assert _row(_open("voc", root, augmented=False)) == _row(_open("voc", root, "val")) == [0, 1, 20, 255, 15, 1]
    with pytest.raises(DataError, match="1 of 1464 images"):
        _open("voc", root, augmented=False, partial=False)


def test_voc_with_the_lists_of_others(tmp_path: Path) -> None:
    root = voc(tmp_path)
    listed = root / "ImageSets" / "SegmentationAug" / "train_aug.txt"
    listed.unlink()
    with pytest.raises(DataError, match=_says("train_aug.txt", "segdistill prepare voc", "augmented=false")):
        _open("voc", root)
    write_lines(root / "ImageSets" / "Segmentation" / "aug.txt", ["extra"])  # what SBD adds
    assert _names(_open("voc", root)) == ["train", "extra"]
    write_lines(listed, ["/JPEGImages/train.jpg /SegmentationClassAug/train.png"])  # DeepLab's form
    assert _names(_open("voc", root)) == ["train"]


def test_coco_stuff_171_and_182(tmp_path: Path) -> None:
    root = coco_stuff(tmp_path)
    assert _row(_open("coco_stuff", root)) == [0, 10, 11, 80, 170, 255]
    assert _row(_open("coco_stuff", root, num_classes=182)) == [0, 10, 12, 91, 181, 255]
    assert _open("coco_stuff", root, num_classes=182).classes.names[91] == _open("coco_stuff", root).classes.names[80]


def test_coco_stuff_ids_that_are_never_annotated_are_a_mistake(tmp_path: Path) -> None:
    root = coco_stuff(tmp_path)
    write_mask(root / "annotations" / "val2017" / "000000000139.png", [11, 0, 0, 0, 0, 0])
    with pytest.raises(DataError, match=_says("000000000139.png", "value 11;", "stuffthingmaps")):
        _open("coco_stuff", root, "val")[0]


def test_coco_stuff_with_the_masks_of_openmmlab(tmp_path: Path) -> None:
    root = coco_stuff(tmp_path)
    for mask in [*root.rglob("*.png")]:
        write_mask(mask.with_name(f"{mask.stem}_labelTrainIds.png"), [0, 10, 11, 80, 170, 255])
    assert _row(_open("coco_stuff", root)) == [0, 10, 11, 80, 170, 255]
    assert len(_open("coco_stuff", root)) == 2  # the published masks, beside which OpenMMLab writes its own
    for mask in root.rglob("*.png"):
        if "labelTrainIds" not in mask.name:
            mask.unlink()
    assert _row(_open("coco_stuff", root)) == [0, 10, 11, 80, 170, 255]
    with pytest.raises(DataError, match="num_classes=182"):
        _open("coco_stuff", root, num_classes=182)
