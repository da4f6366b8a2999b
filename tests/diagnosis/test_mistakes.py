"""The usual mistakes with masks, made on real files of the published data sets, are caught and the remedy is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import segdistill
from segdistill.core.findings import Finding
from segdistill.data.tables import label_table
from segdistill.diagnosis.diagnose import Diagnosis
from segdistill.diagnosis.soft_edges import values_between

Mask = NDArray[Any]
CITYSCAPES = "_gtFine_labelIds.png"


def examine(name: str, root: Path, **options: Any) -> Diagnosis:
    return segdistill.doctor(name, data={"root": str(root), "partial": True, **options}, quiet=True)


def about_values(done: Diagnosis) -> list[Finding]:
    """The problems but those of splits that the samples do not have."""
    return [
        finding for finding in done.problems if "holds no image" not in finding.text and "No list" not in finding.text
    ]


def rewrite(masks: Path, pattern: str, change: Callable[[Mask], Mask]) -> None:
    """Change the values of all masks, and keep their form."""
    paths = sorted(masks.rglob(pattern))
    assert paths
    for path in paths:
        Image.fromarray(change(np.asarray(Image.open(path))).astype(np.uint8)).save(path)


@pytest.fixture
def copied(samples: Path, tmp_path: Path) -> Path:
    shutil.copytree(samples, tmp_path / "samples")
    return tmp_path / "samples"


def own_folder(images: Path, masks: Path, root: Path) -> Path:
    """The files of a published data set as a folder of one's own: each in both splits under names of its own."""
    for folder in ("train/images", "train/masks", "val/images", "val/masks"):
        (root / folder).mkdir(parents=True)
    for number, (image, mask) in enumerate(zip(sorted(images.rglob("*.*")), sorted(masks.rglob("*.png")), strict=True)):
        split = "train" if number else "val"
        shutil.copy(image, root / split / "images" / f"{number}{image.suffix}")
        shutil.copy(mask, root / split / "masks" / f"{number}.png")
    return root


def published() -> Iterator[tuple[str, str, dict[str, Any]]]:
    yield "cityscapes", "cityscapes", {"labels": "labelIds"}
    yield "cityscapes", "cityscapes_256x128", {"labels": "labelIds"}
    yield "cityscapes", "cityscapes_256x128", {"labels": "labelTrainIds"}
    yield "ade20k", "ade20k/ADEChallengeData2016", {}
    yield "pascal_context", "pascal_context/VOCdevkit/VOC2010", {}
    yield "pascal_context", "pascal_context/VOCdevkit/VOC2010", {"num_classes": 60}
    yield "pascal_context", "pascal_context/VOCdevkit/VOC2010", {"order": "official", "masks": "59_context_labels"}
    yield "voc", "voc_aug/VOCdevkit/VOC2012", {}
    yield "coco_stuff", "coco_stuff164k", {}
    yield "coco_stuff", "coco_stuff164k", {"num_classes": 182}


@pytest.mark.parametrize(("name", "folder", "options"), [*published()])
def test_the_published_files_are_healthy(samples: Path, name: str, folder: str, options: dict[str, Any]) -> None:
    done = examine(name, samples / folder, **options)
    assert sum(split.looked_at for split in done.splits.values()) > 0
    assert not about_values(done)
    assert not [finding for finding in done.findings if finding.level == "warning"]


def test_camvid_is_healthy(camvid_root: Path) -> None:
    done = segdistill.doctor("camvid", data={"root": str(camvid_root)}, images=12, quiet=True)
    assert not done.problems
    assert done.splits["train"].images == 367


def the_mistake(done: Diagnosis, *words: str) -> Finding:
    """The one problem of each split's values; it and its remedy hold the words."""
    problems = about_values(done)
    texts = [f"{finding.where}: {finding.text} -> {finding.advice}" for finding in problems]
    assert problems
    assert len({finding.where for finding in problems}) == len(problems), texts
    assert all(word in text for word in words for text in texts), texts
    return problems[0]


def test_label_ids_read_as_train_ids(copied: Path) -> None:
    root = copied / "cityscapes"
    for path in sorted(root.rglob(f"*{CITYSCAPES}")):
        path.rename(str(path).replace("labelIds", "labelTrainIds"))
    finding = the_mistake(examine("cityscapes", root), "label ids", "read as train ids", "data.labels=labelIds")
    assert finding.files


def test_train_ids_read_as_label_ids(copied: Path) -> None:
    root = copied / "cityscapes_256x128"
    for path in sorted(root.rglob("*_gtFine_labelTrainIds.png")):
        path.rename(str(path).replace("labelTrainIds", "labelIds"))
    the_mistake(examine("cityscapes", root), "train ids", "read as label ids", "data.labels=labelTrainIds")


def test_ade20k_reduced_twice(copied: Path) -> None:
    root = copied / "ade20k" / "ADEChallengeData2016"
    rewrite(root / "annotations", "*.png", lambda raw: raw - 1)  # 0 becomes 255
    the_mistake(examine("ade20k", root), "hold 255", "reduces them again", "folder")


def test_ade20k_void_reduced_with_the_rest(copied: Path) -> None:
    root = copied / "ade20k" / "ADEChallengeData2016"
    rewrite(root / "annotations", "*.png", lambda raw: np.where(raw == 0, 254, raw))
    the_mistake(examine("ade20k", root), "254", "reduce_zero_label", "Reduce the masks once")


def test_ade20k_without_the_shift(samples: Path, tmp_path: Path) -> None:
    ade = samples / "ade20k" / "ADEChallengeData2016"
    root = own_folder(ade / "images", ade / "annotations", tmp_path / "own")
    (root / "classes.txt").write_text("\n".join(label_table("ade20k").classes.names))
    the_mistake(examine("folder", root), "without the shift by one", "data set ade20k", "0: null, 1: 0")


def test_indices_of_ade20k_without_void_are_what_a_network_says(samples: Path, tmp_path: Path) -> None:
    """Of two masks one has a wall, which is 0."""
    ade = samples / "ade20k" / "ADEChallengeData2016"
    root = own_folder(ade / "images", ade / "annotations", tmp_path / "own")
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (file,) = (root / split / kind).iterdir()
            shutil.copy(file, file.with_stem("other"))
        rewrite(root / split / "masks", "*.png", lambda raw: np.where(raw == 0, 5, raw) - 1)
        rewrite(root / split / "masks", "other.png", lambda raw: np.where(raw == 0, 4, raw))
    (root / "classes.txt").write_text("\n".join(label_table("ade20k").classes.names))
    done = examine("folder", root)
    assert {count.images for split in done.splits.values() for value, count in split.values.items() if value == 0} == {
        1
    }
    assert not [finding for finding in about_values(done) if finding.where != "files"]


def test_a_palette_read_as_grey(copied: Path) -> None:
    root = copied / "voc_aug" / "VOCdevkit" / "VOC2012"
    for path in sorted((root / "SegmentationClassAug").glob("*.png")):
        Image.open(path).convert("L").save(path)
    the_mistake(examine("voc", root), "brightness of the colors", "palette", "original palette PNGs")


def test_masks_painted_in_the_colors(copied: Path) -> None:
    root = copied / "voc_aug" / "VOCdevkit" / "VOC2012"
    masks = sorted((root / "SegmentationClassAug").glob("*.png"))
    for path in masks:
        Image.open(path).convert("RGB").save(path)
    done = examine("voc", root)
    each = [finding for finding in done.problems if "is a color image" in finding.text]
    assert {file for finding in each for file in finding.files} == {str(path) for path in masks}
    painted = [finding for finding in done.problems if "painted in the colors" in finding.text]
    assert {file for finding in painted for file in finding.files} == {str(path) for path in masks}
    assert "data.mask_colors=true" in painted[0].advice


def test_coco_ids_counted_from_1(copied: Path) -> None:
    root = copied / "coco_stuff164k"
    rewrite(root / "annotations", "*.png", lambda raw: np.where(raw == 255, 0, raw.astype(int) + 1))
    the_mistake(examine("coco_stuff", root), "counted from 1", "subtract 1")


def compacted(samples: Path) -> Callable[[Mask], Mask]:
    never = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
    kept = [value for value in range(182) if value not in never]
    table = np.full(256, 255)
    table[kept] = range(171)
    return lambda raw: table[raw]


@pytest.mark.parametrize("num_classes", [171, 182])
def test_compacted_coco_ids_read_as_published(copied: Path, num_classes: int) -> None:
    root = copied / "coco_stuff164k"
    rewrite(root / "annotations", "*.png", compacted(root))
    done = examine("coco_stuff", root, num_classes=num_classes)
    the_mistake(done, "compacted to the classes 0..170", "_labelTrainIds.png")


def test_published_coco_ids_read_as_compacted(copied: Path) -> None:
    root = copied / "coco_stuff164k"
    for path in sorted((root / "annotations").rglob("*.png")):
        path.rename(path.with_name(f"{path.stem}_labelTrainIds.png"))
    the_mistake(examine("coco_stuff", root), "compacted ones end at 170", "<id>.png")


@pytest.fixture
def little(tmp_path: Path) -> Callable[..., Path]:
    """A folder of six images with masks of the given values."""

    def make(*values: int, classes: int = 3) -> Path:
        root = tmp_path / "own"
        rng = np.random.default_rng(0)
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True)
        for index in range(6):
            Image.fromarray(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(root / "images" / f"{index}.png")
            Image.fromarray(np.resize(values, (20, 24)).astype(np.uint8)).save(root / "masks" / f"{index}.png")
        (root / "classes.txt").write_text("\n".join(f"class {index}" for index in range(classes)))
        return root

    return make


def test_classes_counted_from_1(little: Callable[..., Path]) -> None:
    the_mistake(examine("folder", little(1, 2, 3)), "counted from 1", "data.values={1: 0")


def test_void_counted_as_one_class_more(little: Callable[..., Path]) -> None:
    the_mistake(examine("folder", little(0, 1, 2, 3)), "one value more", "data.void=[3]", "0: null")


def test_void_of_nineteen_classes_is_not_of_cityscapes(little: Callable[..., Path]) -> None:
    the_mistake(examine("folder", little(*range(20), classes=19)), "one value more", "data.void=[19]")


def test_255_counted_as_a_class(little: Callable[..., Path]) -> None:
    done = examine("folder", little(0, 1, 255), values={0: 0, 1: 1, 255: 2})
    the_mistake(done, "255 counts as a class", "void")


def test_white_on_black_masks(little: Callable[..., Path]) -> None:
    done = examine("folder", little(0, 255, classes=2))
    assert any("data.values={0: 0, 255: 1}" in finding.advice for finding in done.problems)
    assert not examine("folder", done_root(done), values={0: 0, 255: 1}).problems


def done_root(done: Diagnosis) -> Path:
    (mask, *_) = done.splits["train"].void
    return Path(mask).parents[1]


def test_masks_that_are_pictures(little: Callable[..., Path]) -> None:
    the_mistake(examine("folder", little(*range(0, 250, 3))), "mean nothing", "JPEG", "PNG")


def test_all_is_in_the_json(little: Callable[..., Path], segdistill: Any) -> None:
    root = little(0, 1, 3)
    done = segdistill("doctor", "folder", f"data.root={root}", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["healthy"] is False
    assert report["splits"]["train"]["values"]["1"] == {"pixels": 5 * 160, "images": 5, "means": "class 1"}
    assert report["splits"]["train"]["classes"]["class 0"]["share"] == pytest.approx(1 / 3)
    assert report["splits"]["train"]["values"]["3"]["means"] is None


@pytest.mark.parametrize("how", ["resized", "doubled", "jpeg"])
def test_masks_that_were_smoothed_although_all_values_are_classes(tmp_path: Path, how: str) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for index in range(5):
        mask = np.zeros((80, 120), np.uint8)
        mask[20:60, 10 + index : 50], mask[30:70, 60:100] = 5, 9
        picture = Image.fromarray(mask)
        if how == "resized":
            picture = picture.resize((90, 60), Image.Resampling.BILINEAR)
        elif how == "doubled":
            picture = picture.resize((90, 60), Image.Resampling.BILINEAR).resize((180, 120), Image.Resampling.NEAREST)
        else:
            picture.save(tmp_path / "once.jpg", quality=90)
            picture = Image.open(tmp_path / "once.jpg")
        picture.save(tmp_path / "masks" / f"{index}.png")
        noise = np.random.default_rng(index).integers(0, 255, (*np.asarray(picture).shape, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / f"{index}.png")
    done = examine("folder", tmp_path, classes=[f"class {index}" for index in range(20)])
    assert [finding.level for finding in done.findings if "smooth edges" in finding.text] == ["problem"] * 2


def test_thin_layers_in_the_order_of_their_classes_are_drawn() -> None:
    layers = np.repeat(np.arange(6, dtype=np.uint8), (8, 1, 9, 1, 1, 12))[:, None] + np.zeros((1, 40), np.uint8)
    assert values_between(layers) == []
