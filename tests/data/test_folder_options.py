"""Your own folder, with options: name templates, lists, splits, images without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from own_folders import image, mask, names_of, open_folder, pair, row, says_in_order
from PIL import Image

import segdistill
from segdistill.core.errors import DataError

# --- Name templates -------------------------------------------------------------------------------------------------


def test_templates_with_split_folders_and_cities(tmp_path: Path) -> None:
    for split, city, frame in (("train", "a", 1), ("train", "b", 1), ("val", "c", 2)):
        image(tmp_path / "photos" / split / city / f"{frame}_left.jpg")
        mask(tmp_path / "truth" / split / city / f"{frame}_ids.png", [ord(city) - ord("a")] * 6)
    templates = {"images": "photos/{split}/{name}_left.jpg", "masks": "truth/{split}/{name}_ids.png"}
    train = open_folder(tmp_path, **templates)
    assert [names_of(train), names_of(open_folder(tmp_path, "val", **templates))] == [["1_left", "1_left"], ["2_left"]]
    assert [train[index].label.unique().tolist() for index in range(2)] == [[0], [1]]


def test_templates_may_be_absolute_and_leave_the_suffix_open(tmp_path: Path) -> None:
    for name in "ab":
        image(tmp_path / "elsewhere" / f"{name}.jpeg")
        mask(tmp_path / "set" / "m" / f"{name}.tif", [1] * 6)
    images = f"{tmp_path}/elsewhere/{{name}}"
    assert names_of(open_folder(tmp_path / "set", images=images, masks="m/{name}", val_every=2)) == ["a"]


def test_a_star_is_anything_within_a_name(tmp_path: Path) -> None:
    image(tmp_path / "i" / "0001_20240501.png")
    image(tmp_path / "i" / "0002_20240502.png")
    for name in ("0001", "0002"):
        mask(tmp_path / "m" / f"{name}.png", [2] * 6)
    dataset = open_folder(tmp_path, images="i/{name}_*.png", masks="m/{name}.png", val_every=2)
    assert names_of(dataset) == ["0001_20240501"]


def test_an_image_without_a_mask_is_named_by_the_template(tmp_path: Path) -> None:
    image(tmp_path / "train" / "x" / "7.jpg")
    (tmp_path / "truth").mkdir()
    with pytest.raises(
        DataError, match=says_in_order("1 of 1 images", "7.jpg", tmp_path / "truth" / "x" / "7_ids.png")
    ):
        open_folder(tmp_path, images="{split}/{name}.jpg", masks="truth/{name}_ids.png")


@pytest.mark.parametrize("template", ["photos/*.jpg", "photos/{name}/{name}.jpg"])
def test_a_template_holds_the_name_once(tmp_path: Path, template: str) -> None:
    with pytest.raises(DataError, match=says_in_order(template, "{name}")):
        open_folder(tmp_path, images=template)


# --- Which image is in which split ----------------------------------------------------------------------------------


def _many(root: Path, names: list[str]) -> Path:
    for name in names:
        image(root / "images" / f"{name}.png")
        mask(root / "masks" / f"{name}.png", [0] * 6)
    return root


def test_a_seeded_fraction(tmp_path: Path) -> None:
    root = _many(tmp_path, [f"{i:02d}" for i in range(20)])
    train, val = (names_of(open_folder(root, split, val_fraction=0.25)) for split in ("train", "val"))
    assert len(val) == 5
    assert sorted(train + val) == [f"{i:02d}" for i in range(20)]
    assert val != names_of(open_folder(root, "val", val_fraction=0.25, split_seed=1))
    assert val != [f"{i:02d}" for i in range(5)]


def test_more_images_do_not_move_those_of_a_fraction_into_training(tmp_path: Path) -> None:
    root = _many(tmp_path, [f"{i:02d}" for i in range(20)])
    before = set(names_of(open_folder(root, "val", val_fraction=0.5)))
    _many(tmp_path, ["99"])
    after = set(names_of(open_folder(root, "val", val_fraction=0.5)))
    assert len(before - after) <= 1


def test_a_pattern(tmp_path: Path) -> None:
    root = _many(tmp_path, ["day/1", "day/2", "night/1", "dusk-3"])
    assert names_of(open_folder(root, "val", val_pattern="night/*")) == ["1"]
    assert names_of(open_folder(root, val_pattern=["night/*", "dusk*"])) == ["1", "2"]
    with pytest.raises(DataError, match=says_in_order("fog/*", "0 of 4 images", "day/1")):
        open_folder(root, val_pattern="fog/*")


def test_list_files_by_name(tmp_path: Path) -> None:
    root = _many(tmp_path, ["a", "b", "sub/c"])
    (root / "mine.lst").write_text("b\nimages/sub/c.png\n")
    (root / "train.txt").write_text("a\n")
    lists = {"val": "mine.lst"}
    assert names_of(open_folder(root, "val", lists=lists)) == ["b", "c"]
    assert names_of(open_folder(root, lists=lists)) == ["a"]


def test_a_list_of_images_and_masks(tmp_path: Path) -> None:
    image(tmp_path / "left" / "1.png")
    mask(tmp_path / "truth" / "one.png", [2] * 6)
    (tmp_path / "train.lst").write_text("left/1.png\ttruth/one.png\n")
    assert row(open_folder(tmp_path, lists={"train": "train.lst"})) == [2] * 6
    (tmp_path / "train.lst").write_text("left/1.png truth/two.png\n")
    with pytest.raises(DataError, match=says_in_order("1 of 2 files", tmp_path / "truth" / "two.png")):
        open_folder(tmp_path, lists={"train": "train.lst"})


def test_the_masks_of_a_list_are_not_read_where_training_has_no_labels(tmp_path: Path) -> None:
    image(tmp_path / "left" / "1.png")
    mask(tmp_path / "truth" / "one.png", [2] * 6)
    (tmp_path / "train.lst").write_text("left/1.png truth/one.png\n")
    assert row(open_folder(tmp_path, lists={"train": "train.lst"}, labels="none")) == [255] * 6


@pytest.mark.parametrize("options", [{"format": "coco"}, {"unlabeled": "void"}])
def test_options_of_annotations_are_refused_for_mask_files(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=says_in_order(f"data.{next(iter(options))}", "mask files")):
        open_folder(pair(tmp_path, [0, 1] * 3), **options)


def test_a_rule_goes_before_list_files_that_lie_about(tmp_path: Path) -> None:
    root = _many(tmp_path, list("abcd"))
    (root / "val.txt").write_text("a\n")
    assert names_of(open_folder(root, "val", val_every=2)) == ["b", "d"]


def test_too_few_images_for_the_rule_have_a_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says_in_order("Every 5th image", "has 4", "data.val_every=2")):
        open_folder(_many(tmp_path, list("abcd")), "val")


def test_two_rules_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says_in_order("data.val_every and data.val_fraction")):
        open_folder(_many(tmp_path, list("ab")), val_every=2, val_fraction=0.5)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_a_fraction_that_splits_nothing_is_refused(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(DataError, match="val_fraction"):
        open_folder(_many(tmp_path, list("ab")), val_fraction=fraction)


# --- Images without labels ------------------------------------------------------------------------------------------


def test_no_labels_at_all(tmp_path: Path) -> None:
    for name in "abcde":
        image(tmp_path / "images" / f"{name}.png")
    for split in ("train", "val"):
        dataset = open_folder(tmp_path, split, labels="none")
        assert dataset[0].label.unique().tolist() == [255]
        assert dataset[0].label.shape == dataset[0].image.shape[1:]


def test_unlabelled_training_is_still_validated(tmp_path: Path) -> None:
    for split in ("train", "val"):
        image(tmp_path / split / "images" / "a.png")
    mask(tmp_path / "val" / "masks" / "a.png", [1] * 6)
    assert open_folder(tmp_path, labels="none")[0].label.unique().tolist() == [255]
    assert open_folder(tmp_path, "val", labels="none")[0].label.unique().tolist() == [1]


def test_some_labels(tmp_path: Path) -> None:
    root = pair(tmp_path, [1] * 6)
    image(root / "train" / "images" / "b.png")
    with pytest.raises(DataError, match=says_in_order("1 of 2 images have no mask", "data.labels=some")):
        open_folder(root)
    dataset = open_folder(root, labels="some")
    assert [dataset[index].label.unique().tolist() for index in range(2)] == [[1], [255]]


def test_a_method_without_labels_trains_on_unlabelled_images(tmp_path: Path) -> None:
    from segdistill.data.datasets.streets import Streets

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
        recipe[-1], out=tmp_path / "teacher", quiet=True,
    )  # fmt: skip
    done = segdistill.distill(
        *recipe, "kd", out=tmp_path / "run", quiet=True, baseline="none", teacher={"weights": str(teacher.folder)}
    )
    assert done.study.outcomes == ()
    assert "No validation image has a label" in (done.folder / "table.md").read_text(encoding="utf-8")
    lines = (done.folder / "metrics.jsonl").read_text()
    assert '"kd' in lines
    assert "NaN" not in lines
    student = segdistill.load_model(done.folder)
    assert all(torch.isfinite(value).all() for value in student.state_dict().values() if value.is_floating_point())
