"""Kept pixels are the samples' own, and never those of a file that has changed."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load

import segdistill
from segdistill.core.errors import DataError
from segdistill.data import DatasetConfig, labeled_part, training_images, with_unlabeled
from segdistill.data.decoded import Decoded


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Seven photos with masks, and one without."""
    folder = tmp_path / "data"
    random = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(8):
        Image.fromarray(random.integers(0, 256, (32, 48, 3), np.uint8)).save(folder / "images" / f"{number}.jpg")
        if number:
            Image.fromarray(random.integers(0, 2, (32, 48), np.uint8)).save(folder / "masks" / f"{number}.png")
    (folder / "classes.txt").write_text("road\ncar\n")
    return folder


def options(root: Path, **others: object) -> dict[str, object]:
    return {"root": str(root), "labels": "some", "val_fraction": 0.25, "decoded": str(root.parent / "kept"), **others}


def opened(root: Path, **others: object) -> Decoded:
    data = training_images(DatasetConfig.model_validate({"name": "folder", **options(root, **others)}))
    assert isinstance(data, Decoded)
    return data


def kept(root: Path) -> list[Path]:
    return sorted((root.parent / "kept").rglob("*.safetensors"))


def test_samples_are_the_same_the_first_time_and_later(root: Path) -> None:
    for _ in range(2):
        data = opened(root)
        for index in range(len(data)):
            want, sample = data.data[index], data[index]
            assert torch.equal(sample.image, want.image)
            assert torch.equal(sample.label, want.label)
            assert (sample.name, sample.labeled) == (want.name, want.labeled)
        assert len(kept(root)) == len(data)
    assert any(f"{len(data)} of {len(data)} images are decoded" in note for note in opened(root).notes)


def test_a_file_that_changes_and_an_option_are_seen(root: Path) -> None:
    data = opened(root)
    index = next(index for index in range(len(data)) if data.is_labeled(index))
    before = data[index].label
    mask = root / "masks" / f"{data.name(index)}.png"
    Image.fromarray(1 - before.numpy()).save(mask)
    os.utime(mask, ns=(0, mask.stat().st_mtime_ns + 1_000_000))
    assert torch.equal(data[index].label, 1 - before)
    swapped = opened(root, values={0: "car", 1: "road"})
    assert torch.equal(swapped[index].label, before)


def test_a_class_table_that_changes_is_seen(root: Path) -> None:
    def labels(road: int, car: int) -> torch.Tensor:
        table = f"classes:\n  - {{name: road, id: {road}}}\n  - {{name: car, id: {car}}}\n"
        (root / "table.yaml").write_text(table)
        data = opened(root, classes=str(root / "table.yaml"))
        return data[next(index for index in range(len(data)) if data.is_labeled(index))].label

    assert torch.equal(labels(0, 1), 1 - labels(1, 0))


def test_notes_of_partly_labeled_images_say_how_much_is_kept(root: Path) -> None:
    data = opened(root)
    config = DatasetConfig.model_validate({"name": "folder", **options(root)})
    for used in (labeled_part(data), with_unlabeled(data, config)):
        assert used is not data
        assert [*used.notes] == [*data.notes]


@pytest.mark.parametrize("damage", ["a bit", "an end"])
def test_a_damaged_file_is_made_again(root: Path, damage: str) -> None:
    data = opened(root)
    want = data[0]
    file = kept(root)[0]
    whole = load(file.read_bytes())
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content if damage == "a bit" else content[:-20])
    assert torch.equal(data[0].image, want.image)
    again = load(file.read_bytes())
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_run_ends_with_the_same_weights(tiny: tuple[str, ...], root: Path, tmp_path: Path) -> None:
    words = [word for word in tiny if not word.startswith(("streets", "data.", "augment."))]
    for name, others in (("plain", {"decoded": None}), ("kept", {})):
        data = {"name": "folder", **options(root, **others)}
        segdistill.train(*words, "augment.crop=[32,32]", data=data, out=tmp_path / name, quiet=True)
    weights = [(tmp_path / name / "student.safetensors").read_bytes() for name in ("plain", "kept")]
    assert weights[0] == weights[1]
    assert kept(root)


def test_what_can_not_be_kept_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"data.decoded keeps the pixels of image files"):
        training_images(DatasetConfig(name="streets", decoded=root))
    with pytest.raises(DataError, match=r"data.decoded=.*classes.txt is a file; expected a folder"):
        opened(root, decoded=str(root / "classes.txt" / "kept"))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 100))
    with pytest.raises(DataError, match=r"pixels of 6 images would take about .* GB in .*kept.* are free"):
        opened(root)
