"""Data sets of the Hugging Face hub, written as `datasets` writes them: structs of bytes and path."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from own_folders import Split, says_in_order
from PIL import Image

from segdistill import prepare
from segdistill.core.errors import DataError
from segdistill.data import DatasetConfig, SegmentationDataset, create_dataset


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, format="PNG")
    return file.getvalue()


def write(root: Path, name: str, rows: int, column: str = "label", value: int | None = None) -> Path:
    """Rows whose image is gray `row` and whose mask holds `row % 3`, in groups of two."""
    root.mkdir(exist_ok=True)
    (root / "id2label.json").write_text(json.dumps({"0": "unlabeled", "1": "road", "2": "car"}))
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [{"bytes": png(np.full((4, 6, 3), row)), "path": None} for row in range(rows)]
    masks = [{"bytes": png(np.full((4, 6), row % 3 if value is None else value)), "path": None} for row in range(rows)]
    table = pa.table({"image": pa.array(images, struct), column: pa.array(masks, struct)})
    (root / name).parent.mkdir(exist_ok=True, parents=True)
    pq.write_table(table, root / name, row_group_size=2)
    return root


def open_parquet(root: Path, split: Split = "train", **options: Any) -> SegmentationDataset:
    return create_dataset(DatasetConfig.model_validate({"name": "parquet", "root": root, **options}), split)


def test_rows_are_images_with_their_masks(tmp_path: Path) -> None:
    write(tmp_path, "data/train-00000-of-00001.parquet", 5)
    write(tmp_path, "data/validation-00000-of-00001.parquet", 3, "annotation")
    data = open_parquet(tmp_path)
    assert data.classes.names == ("unlabeled", "road", "car")
    assert [int(sample.image[0, 0, 0]) for sample in map(data.__getitem__, range(5))] == [0, 1, 2, 3, 4]
    assert [int(data[row].label[0, 0]) for row in range(5)] == [0, 1, 2, 0, 1]
    assert data.name(4) == "train-00000-of-00001_000004"
    void = open_parquet(tmp_path, "val", void=[0], label_column="annotation")
    assert void.classes.names == ("road", "car")
    assert [int(void[row].label[0, 0]) for row in range(3)] == [255, 0, 1]


def test_without_validation_files_every_fifth_row_is_for_it(tmp_path: Path) -> None:
    write(tmp_path, "default/train/0000.parquet", 10)
    data = open_parquet(tmp_path, "val")
    assert [int(data[row].image[0, 0, 0]) for row in range(len(data))] == [4, 9]
    assert len(open_parquet(tmp_path)) == 8
    assert any("every 5th row" in note for note in data.notes)


def test_damaged_data_sets_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "train-0.parquet", 2, value=9)
    with pytest.raises(DataError, match=says_in_order("train-0.parquet", "row 1", "value 9", "id2label.json")):
        open_parquet(tmp_path, void=[0])[1]
    with pytest.raises(DataError, match=says_in_order("train-0.parquet", "image, label", "data.label_column")):
        open_parquet(tmp_path, label_column="mask")
    (tmp_path / "id2label.json").write_text('{"road": 0}')
    with pytest.raises(DataError, match=says_in_order("id2label.json", "{value: name}")):
        open_parquet(tmp_path)
    write(tmp_path, "train-0.parquet", 2)
    content = (tmp_path / "train-0.parquet").read_bytes()
    (tmp_path / "train-1.parquet").write_bytes(content[:-20])
    with pytest.raises(DataError, match=says_in_order("train-1.parquet", "not a whole parquet file")):
        open_parquet(tmp_path)


def test_prepared_as_files_it_is_the_same_data(tmp_path: Path) -> None:
    root = write(tmp_path / "hub", "train-00000-of-00001.parquet", 10)
    done = prepare("parquet", root=root, out=tmp_path / "files", void=[0], quiet=True)
    assert done.ready
    assert (done.dataset, done.root, done.converted) == ("folder", tmp_path / "files", {"images and index masks": 10})
    for split in ("train", "val"):
        rows = open_parquet(root, split, void=[0])
        config = DatasetConfig.model_validate({"name": "folder", "root": done.root, **done.settings})
        files = create_dataset(config, split)
        assert files.classes.names == rows.classes.names == ("road", "car")
        assert len(files) == len(rows)
        for index in range(len(rows)):
            assert files.name(index) == rows.name(index)
            assert torch.equal(files[index].image, rows[index].image)
            assert torch.equal(files[index].label, rows[index].label)


def test_files_of_the_same_name_keep_all_their_rows(tmp_path: Path) -> None:
    for config, rows in (("a", 6), ("b", 4)):
        write(tmp_path / "hub", f"{config}/train/0000.parquet", rows)
    done = prepare("parquet", root=tmp_path / "hub", out=tmp_path / "files", quiet=True)
    assert sum(split.images for split in done.splits.values()) == 10
    assert len(list((tmp_path / "files" / "masks").rglob("*.png"))) == 10


def test_prepared_again_nothing_changes_and_other_options_are_refused(tmp_path: Path) -> None:
    root, out = write(tmp_path / "hub", "train-0.parquet", 5), tmp_path / "files"
    prepare("parquet", root=root, out=out, quiet=True)
    masks = sorted((out / "masks").rglob("*.png"))
    before = [mask.stat().st_mtime_ns for mask in masks]
    masks[0].unlink()  # as after an interruption
    assert prepare("parquet", root=root, out=out, quiet=True).ready
    assert [mask.stat().st_mtime_ns for mask in masks[1:]] == before[1:]
    assert masks[0].is_file()
    with pytest.raises(DataError, match=says_in_order("files", "other options", "out")):
        prepare("parquet", root=root, out=out, void=[0], quiet=True)
    assert (out / "classes.txt").read_text().split() == ["unlabeled", "road", "car"]


def test_photos_are_copied_as_they_are_and_turned_ones_stand_upright(tmp_path: Path) -> None:
    root = write(tmp_path / "hub", "train-0.parquet", 5)
    photos = [io.BytesIO() for _ in range(2)]
    pixels = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
    turn = Image.Exif()
    turn[0x0112] = 6
    Image.fromarray(np.full((4, 6, 3), 90, np.uint8)).save(photos[0], format="JPEG")
    Image.fromarray(pixels).save(photos[1], format="PNG", exif=turn)
    table = pq.read_table(root / "train-0.parquet").to_pydict()
    for cell, photo in zip(table["image"], photos, strict=False):
        cell["bytes"] = photo.getvalue()
    pq.write_table(pa.table(table), root / "train-0.parquet")
    prepare("parquet", root=root, out=tmp_path / "files", quiet=True)
    made = sorted((tmp_path / "files" / "images" / "train").iterdir())
    assert [path.suffix for path in made] == [".jpg", ".png", ".png", ".png"]
    assert made[0].read_bytes() == photos[0].getvalue()
    assert np.array_equal(np.asarray(Image.open(made[1])), np.rot90(pixels, -1))


def turned_by(orientation: int, pixels: Any) -> bytes:
    file, turn = io.BytesIO(), Image.Exif()
    turn[0x0112] = orientation
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, format="PNG", exif=turn)
    return file.getvalue()


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_turned_image_with_a_mask_that_is_not_is_asked_about(tmp_path: Path, orientation: int) -> None:
    root = write(tmp_path / "hub", "train-0.parquet", 5)
    stored = np.zeros((6, 6, 3))
    stored[:2] = 200
    table = pq.read_table(root / "train-0.parquet").to_pydict()
    table["image"][0]["bytes"] = turned_by(orientation, stored)
    table["label"][0]["bytes"] = png(stored[..., 0] > 0)
    pq.write_table(pa.table(table), root / "train-0.parquet")
    with pytest.raises(DataError, match=says_in_order(f"EXIF orientation {orientation}", "data.exif")):
        open_parquet(root)[0]
    with pytest.raises(DataError, match=says_in_order(f"EXIF orientation {orientation}", "data.exif")):
        prepare("parquet", root=root, out=tmp_path / "files", quiet=True)
    sample = open_parquet(root, exif="ignore")[0]
    assert torch.equal(sample.image[0] > 0, sample.label == 1)
    assert prepare("parquet", root=root, out=tmp_path / "ignored", exif="ignore", quiet=True).ready
    first = min((tmp_path / "ignored" / "images" / "train").iterdir())
    assert np.array_equal(np.asarray(Image.open(first)), stored)


def test_the_first_word_of_a_file_is_its_split(tmp_path: Path) -> None:
    for name in ("train_0", "validation_0", "test.0"):
        write(tmp_path, f"{name}.parquet", 2)
    assert [open_parquet(tmp_path, split).name(1) for split in ("train", "val")] == [
        "train_0_000001",
        "validation_0_000001",
    ]


def test_other_rows_are_not_taken_for_those_that_were_prepared(tmp_path: Path) -> None:
    root = write(tmp_path / "hub", "train-0.parquet", 5)
    prepare("parquet", root=root, out=tmp_path / "files", quiet=True)
    write(root, "train-0.parquet", 5, value=2)
    with pytest.raises(DataError, match=says_in_order("files", "other parquet files")):
        prepare("parquet", root=root, out=tmp_path / "files", quiet=True)
