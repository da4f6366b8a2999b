"""COCO JSON, compared pixel by pixel with pycocotools."""

from __future__ import annotations

import io
import pickle
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated import annotated, grid, images, label_of, save_json
from own_folders import says_in_order, values_of
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

import segdistill
from segdistill.core.errors import DataError

SIZE = (37, 53)  # height, width


def annotation(number: int, category: int, segmentation: Any, image: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, **more}


def tree(*annotations: dict[str, Any], size: tuple[int, int] = (6, 8)) -> dict[str, Any]:
    """A file of two images, a and b, and two categories whose ids are out of order and have gaps."""
    return {
        "info": {"description": "made here"},
        "images": [
            {"id": 7, "file_name": "a.png", "height": size[0], "width": size[1]},
            {"id": 1, "file_name": "sub\\b.png", "height": size[0], "width": size[1]},
        ],
        "categories": [{"id": 44, "name": "bottle"}, {"id": 3, "name": "car"}],
        "annotations": list(annotations),
    }


def folder(root: Path, *annotations: dict[str, Any]) -> Path:
    save_json(root / "annotations.json", tree(*annotations))
    return images(root, "images/a.png", "images/b.png")


def blob(seed: int) -> Any:
    """Some random ellipse."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    top, left, high, wide = random.uniform((5, 5, 3, 3), (30, 45, 15, 20))
    return ((y - top) / high) ** 2 + ((x - left) / wide) ** 2 < 1


def segmentations(seed: int) -> list[Any]:
    """Polygons of one and two rings, run lengths as numbers and as text."""
    random = np.random.default_rng(seed)
    rings = [random.uniform(-3, 50, 2 * corners).round(2).tolist() for corners in (3, 5, 9)]
    text = coco_mask.encode(np.asfortranarray(blob(seed), np.uint8))
    flat = blob(seed + 100).T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat, prepend=False))
    runs = np.diff([0, *edges, flat.size]).tolist()
    return [
        [rings[0]],
        rings[1:],
        {"size": list(SIZE), "counts": text["counts"].decode()},
        {"size": list(SIZE), "counts": runs},
    ]


@pytest.mark.parametrize("seed", range(4))
def test_areas_are_those_of_pycocotools_with_smaller_ones_on_top(tmp_path: Path, seed: int) -> None:
    file = tree(
        *(annotation(n, (44, 3)[n % 2], each, iscrowd=int(n == 3)) for n, each in enumerate(segmentations(seed))),
        size=SIZE,
    )
    path = save_json(tmp_path / "instances.json", file)
    images(tmp_path, "images/a.png", "images/sub/b.png", size=SIZE[::-1])
    with redirect_stdout(io.StringIO()):
        reference = COCO(str(path))
    expected = np.zeros(SIZE, np.uint8)
    masks = [(reference.annToMask(each), each["category_id"]) for each in reference.loadAnns(reference.getAnnIds(1))]
    for mask, category in sorted(masks, key=lambda each: -int(each[0].sum())):
        expected[mask == 1] = {44: 1, 3: 2}[category]
    data = annotated(tmp_path, "instances.json")
    assert data.classes.names == ("background", "bottle", "car")
    assert np.array_equal(label_of(data, "b"), expected)
    assert len(np.unique(expected)) == 3


def test_an_image_without_annotations_is_background_or_void(tmp_path: Path) -> None:
    folder(tmp_path, annotation(1, 44, [[1, 1, 4, 1, 4, 3, 1, 3]]))
    assert not label_of(annotated(tmp_path, "annotations.json", "train"), "a").any()
    shown = grid("........ .111.... .111.... ........ ........ ........")
    data = annotated(tmp_path, "annotations.json")
    assert np.array_equal(label_of(data, "b"), shown)
    assert any("COCO JSON" in note for note in data.notes)
    void = annotated(tmp_path, "annotations.json", unlabeled="void")
    assert void.classes.names == ("bottle", "car")
    assert np.array_equal(label_of(void, "b"), np.where(shown == 1, 0, 255))


def test_a_class_of_one_split_only_has_the_same_index_in_both(tmp_path: Path) -> None:
    for split, name in (("train", "car"), ("val", "bus")):
        file = tree(annotation(1, 3, [[0, 0, 8, 0, 8, 6, 0, 6]]))
        file["categories"] = [{"id": 3, "name": name}]
        file["images"] = [{"id": 1, "file_name": f"{split}.png", "height": 6, "width": 8}]
        save_json(tmp_path / split / "_annotations.coco.json", file)
        images(tmp_path, f"{split}/{split}.png")
    for split, index in (("train", 1), ("val", 2)):
        data = annotated(tmp_path, "{split}/_annotations.coco.json", split)  # type: ignore[arg-type]
        assert data.classes.names == ("background", "car", "bus")
        assert (label_of(data, split) == index).all()


def test_classes_are_chosen_merged_and_ordered_by_name(tmp_path: Path) -> None:
    folder(tmp_path, annotation(1, 44, [[0, 0, 4, 0, 4, 6, 0, 6]]), annotation(2, 3, [[4, 0, 8, 0, 8, 6, 4, 6]]))
    data = annotated(tmp_path, "annotations.json", classes=["car", "bottle", "background"])
    assert label_of(data, "b")[0].tolist() == [1] * 4 + [0] * 4
    merged = annotated(tmp_path, "annotations.json", merge={"car": "bottle"}, colors={"bottle": "#010203"})
    assert merged.classes.colors[1] == (1, 2, 3)
    assert (label_of(merged, "b") == 1).all()
    with pytest.raises(DataError, match=says_in_order("data.classes lacks car", "data.unlisted=void")):
        annotated(tmp_path, "annotations.json", classes=["background", "bottle"])
    bottles = annotated(tmp_path, "annotations.json", classes=["background", "bottle"], unlisted="void")
    assert label_of(bottles, "b")[0].tolist() == [1] * 4 + [255] * 4
    with pytest.raises(DataError, match=says_in_order("data.classes lacks background", "data.unlabeled=void")):
        annotated(tmp_path, "annotations.json", classes=["car", "bottle"])
    both = annotated(tmp_path, "annotations.json", classes=["car", "bottle"], unlabeled="void")
    assert label_of(both, "b")[0].tolist() == [1] * 4 + [0] * 4
    with pytest.raises(DataError, match="mask_colors"):
        annotated(tmp_path, "annotations.json", mask_colors=True)


def test_prepare_writes_the_masks_and_the_words_that_use_them(tmp_path: Path) -> None:
    folder(tmp_path, annotation(1, 3, [[0, 0, 4, 0, 4, 6, 0, 6]]))
    prepared = segdistill.prepare(
        "folder", root=tmp_path, out=tmp_path / "out", masks="annotations.json", val_every=2, quiet=True
    )
    assert prepared.converted == {"index masks": 2}
    assert values_of(tmp_path / "out" / "images" / "b.png") == [[2] * 4 + [0] * 4] * 6
    assert prepared.settings.keys() == {"classes", "colors", "lists"}


def test_doctor_reads_them_and_says_what_they_are(tmp_path: Path) -> None:
    folder(tmp_path, annotation(1, 3, [[0, 0, 4, 0, 4, 6, 0, 6]]))
    options = ["data.masks=annotations.json", "data.val_every=2", f"data.root={tmp_path}", "augment.crop=[4, 4]"]
    done = segdistill.doctor("folder", *options, quiet=True)
    notes = [finding.text for finding in done.findings if finding.level == "note"]
    assert any("annotations.json is COCO JSON: 2 classes, 2 images." in text for text in notes)
    assert not [finding for finding in done.findings if finding.level == "problem"]


def test_more_classes_than_a_label_holds_are_chosen_from(tmp_path: Path) -> None:
    folder(tmp_path)
    file = tree(
        annotation(1, 299, [[0, 0, 4, 0, 4, 6, 0, 6]]), annotation(2, 7, [[4, 0, 5, 0, 5, 6, 4, 6], [1, 1, 2, 2]])
    )
    file["categories"] = [{"id": number, "name": f"class {number}"} for number in range(300)]
    save_json(tmp_path / "annotations.json", file)
    with pytest.raises(DataError, match="301 classes"):
        annotated(tmp_path, "annotations.json")
    data = annotated(tmp_path, "annotations.json", classes=["background", "class 299"], unlisted="void")
    assert label_of(data, "b")[1].tolist() == [1] * 4 + [255] + [0] * 3


def test_without_pycocotools_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, annotation(1, 3, [[0, 0, 4, 0, 4, 6, 0, 6]]))
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(DataError, match=says_in_order("pip install", "segdistill[labels]")):
        label_of(annotated(tmp_path, "annotations.json"), "b")


def test_images_of_each_split_in_folders_as_coco_has_them(tmp_path: Path) -> None:
    for split, size in (("train", (8, 6)), ("val", (6, 8))):
        images(tmp_path, f"{split}2017/7.jpg", size=size)
        file = tree(annotation(1, 3, [[0, 0, 8, 0, 8, 8, 0, 8]], image=7), size=size[::-1])
        file["images"] = [{"id": 7, "file_name": "7.jpg", "height": size[1], "width": size[0]}]
        save_json(tmp_path / "annotations" / f"instances_{split}2017.json", file)
    for split, shape in (("train", (6, 8)), ("val", (8, 6))):
        data = annotated(
            tmp_path,
            "annotations/instances_{split}2017.json",
            split,
            images="{split}2017/{name}",  # type: ignore[arg-type]
        )
        assert np.array_equal(label_of(data, "7"), np.full(shape, 2))


def test_workers_of_a_loader_draw_the_same(tmp_path: Path) -> None:
    folder(tmp_path, annotation(1, 3, [[0, 0, 4, 0, 4, 6, 0, 6]]))
    data = annotated(tmp_path, "annotations.json")
    assert np.array_equal(label_of(pickle.loads(pickle.dumps(data)), "b"), label_of(data, "b"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"categories": None}, "'categories' is None"),
        ({"annotations": [annotation(5, 44, [[1, 1, 4, 1, 4]])]}, "5 numbers"),
        ({"annotations": [annotation(5, 44, [[1, 1, 4, "x", 4, 4]])]}, "annotation 5"),
        ({"annotations": [annotation(5, 44, [[1, 1, 4e7, 1, 4, 4]])]}, "a corner at 4e+07"),
        ({"annotations": [annotation(5, 44, {"size": [6, 8], "counts": [3, 4]})]}, "run lengths of 7 pixels"),
        ({"annotations": [annotation(5, 44, {"size": [9, 8], "counts": [72]})]}, "size [9, 8]"),
        ({"annotations": [annotation(5, 45, [[1, 1, 4, 1, 4, 4]])]}, "category_id 45"),
        ({"annotations": [annotation(5, 44, [], image=9)]}, "image 9"),
        ({"images": [{"id": 1, "file_name": "b.png"}]}, "width and height"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    folder(tmp_path)
    path = save_json(tmp_path / "annotations.json", {**tree(), **change})
    with pytest.raises(DataError, match=says_in_order(path, words)):
        label_of(annotated(tmp_path, "annotations.json", partial=True), "b")


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    folder(tmp_path)
    with pytest.raises(DataError, match=says_in_order("nothing.json")):
        annotated(tmp_path, "nothing.json")
    (tmp_path / "cut.json").write_text('{"images": [')
    with pytest.raises(DataError, match=says_in_order("cut.json", "no format", "COCO JSON")):
        annotated(tmp_path, "cut.json")
    with pytest.raises(DataError, match=says_in_order("cut.json", "cut off")):
        annotated(tmp_path, "cut.json", format="coco")
    save_json(tmp_path / "annotations.json", tree(size=(9, 9)))
    with pytest.raises(DataError, match=says_in_order("annotations.json", "9x9", "b.png", "8x6")):
        label_of(annotated(tmp_path, "annotations.json"), "b")
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(DataError, match=says_in_order("annotations.json", "b.png", "data.partial")):
        annotated(tmp_path, "annotations.json")


def test_joined_exports_with_the_same_ids_are_refused(tmp_path: Path) -> None:
    folder(tmp_path)
    for key, entry in (("images", {"id": 7, "file_name": "c.png", "height": 6, "width": 8}), ("categories", {"id": 3})):
        joined = tree()
        joined[key].append({"name": "tree", **entry})
        save_json(tmp_path / "annotations.json", joined)
        with pytest.raises(DataError, match=says_in_order(key, f"id {entry['id']}", "no other one")):
            annotated(tmp_path, "annotations.json")


def test_of_several_files_in_a_folder_none_is_left_out(tmp_path: Path) -> None:
    images(tmp_path, "images/a.png", "images/b.png")
    for name in ("one", "two"):
        save_json(tmp_path / "annotations" / f"{name}.json", tree())
    with pytest.raises(DataError, match=says_in_order("2 .json files", "one.json and two.json", "{split}")):
        annotated(tmp_path, "annotations")
    (tmp_path / "annotations" / "two.json").unlink()
    save_json(tmp_path / "annotations" / "manifest.json", {"format": "coco", "images": []})  # as `predict` writes it
    assert annotated(tmp_path, "annotations").classes.names == ("background", "bottle", "car")


@pytest.mark.parametrize("options", [{"void": [2]}, {"values": {1: "car"}}, {"mask_colors": True}])
def test_options_of_mask_files_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=says_in_order(f"data.{next(iter(options))}", "data.merge")):
        annotated(folder(tmp_path), "annotations.json", **options)


def test_a_rule_beside_a_file_for_each_split_is_refused(tmp_path: Path) -> None:
    folder(tmp_path)
    for split in ("train", "val"):
        save_json(tmp_path / f"{split}.json", tree())
    with pytest.raises(DataError, match=says_in_order("data.val_every would do nothing", "{split}")):
        annotated(tmp_path, "{split}.json", val_every=2)
