"""A file that can't be read stops the run, or another sample takes its place: told, counted, limited."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from painted import SIZE, paint
from PIL import Image
from processes import in_two, trained_by

import segdistill
from segdistill.core.errors import DataError
from segdistill.models.files import read_description

SHORT = (
    "folder", "student={backbone: mobilenetv2_035, head: fcn, channels: 8, auxiliary_channels: 0}",
    "augment={crop: [32, 48], scale: [1, 1], max_class_share: 1, photometric: false}",
    "batch_size=2", "log_every=1", "checkpoint_every=1", "validate_every=100",
)  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight images for training, two for validation."""
    root = paint(tmp_path / "data")
    (root / "train.txt").write_text("".join(f"a{index}\n" for index in range(8)))
    (root / "val.txt").write_text("a8\na9\n")
    return root


def words(data: Path, *more: str) -> list[str]:
    return [*SHORT, f"data.root={data}", "data.lists={train: train.txt, val: val.txt}", *more]


def train(data: Path, run: str, *more: str, resume: bool = False) -> Path:
    return segdistill.train(*words(data, *more), out=data.parent / run, resume=resume, quiet=True).folder


def cut_off(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def journal(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_the_limit_holds_and_a_resumed_run_is_the_same(data: Path) -> None:
    cut_off(data / "images" / "a1.png")
    cut_off(data / "masks" / "a5.png")
    skip = ("steps=12", "on_unreadable=skip")  # three epochs
    whole = train(data, "whole", *skip, "unreadable_limit=0.25", "workers=2")
    lines = journal(whole, "unreadable")
    assert sorted(line["sample"] for line in lines) == [1, 5], "each is told once"
    assert read_description(whole / "student.safetensors").trained["unreadable"] == 2
    assert len(journal(whole, "train")) == 12

    with pytest.raises(DataError, match=r"a\d\.png"):
        train(data, "parts", "steps=12", "workers=0")
    with pytest.raises(DataError, match=r"2 of 8 training samples .*allows 1") as caught:
        train(data, "parts", *skip, "workers=0", resume=True)
    assert "a1.png" in str(caught.value)
    assert "a5.png" in str(caught.value)
    parts = train(data, "parts", *skip, "unreadable_limit=0.25", "workers=0", resume=True)
    assert (parts / "student.safetensors").read_bytes() == (whole / "student.safetensors").read_bytes()
    assert journal(parts, "unreadable") == lines


def test_a_file_that_breaks_while_the_run_goes_on(data: Path, start: Callable[..., subprocess.Popen[str]]) -> None:
    run = data.parent / "run"
    recipe = words(data, "steps=60", "checkpoint_every=60", "on_unreadable=skip", "workers=1")
    process = start("train", *recipe, f"out={run}")
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        if (run / "metrics.jsonl").exists() and journal(run, "train"):
            break
        time.sleep(0.01)
    cut_off(data / "images" / "a2.png")
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output
    (line,) = journal(run, "unreadable")
    assert line["sample"] == 2
    assert line["step"] > 1
    assert f"replaced by another sample: Can't read image {data / 'images' / 'a2.png'}" in output
    assert "1 training samples could not be read" in output


def test_a_pasted_image_and_one_that_is_fitted_to_are_replaced_too(data: Path) -> None:
    """It is the image that can't be read which is told, and not every image that it was to be pasted into."""
    cut_off(data / "images" / "a1.png")
    words = ("steps=16", "on_unreadable=skip", "unreadable_limit=0.125", "augment.mix=cutmix", "augment.mix_share=1")
    run = train(data, "run", *words, "refit_images=8", "workers=0")
    assert [line["sample"] for line in journal(run, "unreadable")] == [1]
    assert read_description(run / "student.safetensors").trained["refit"]["images"] == 7


def test_validation_images_are_never_left_out(data: Path) -> None:
    cut_off(data / "images" / "a9.png")
    with pytest.raises(DataError, match=r"a9\.png"):
        train(data, "run", "steps=1", "on_unreadable=skip", "workers=0")


def test_processes_agree_on_what_is_skipped(data: Path) -> None:
    """An image that only one of them sees spoils the step of both; so does a file for the count."""
    cut_off(data / "images" / "a1.png")
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(data / "images" / "a3.png")
    recipe = words(
        data, "steps=8", "on_unreadable=skip", "on_nonfinite=skip", "workers=0",
        "student={name: 'module:fragile:Fragile'}", f"out={data.parent / 'two'}",
    )  # fmt: skip
    recipe = [word for word in recipe if "mobilenet" not in word]
    in_two(trained_by, recipe)
    folder = data.parent / "two"
    skipped = [line["step"] for line in journal(folder, "fault")]
    assert skipped
    assert sorted([*skipped, *(line["step"] for line in journal(folder, "train"))]) == list(range(1, 9))
    assert [line["sample"] for line in journal(folder, "unreadable")] == [1]
    assert {file.name.partition("-rank")[0] for file in (folder / "faults").iterdir()} <= {
        f"step-{step}" for step in skipped
    }
