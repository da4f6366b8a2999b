"""A run that is killed or interrupted and continued ends with the very bits of an uninterrupted one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from forked import Forked

import segdistill as library

Start = Callable[..., Forked]
Run = Callable[..., subprocess.CompletedProcess[str]]

LONG = ("steps=8", "ema=0.9", "teacher.train.steps=4", "validate_every=4", "checkpoint_every=3")


def wait_for_step(process: Forked, metrics: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and any(f'"step": {step},' in line for line in metrics.read_text().splitlines()):
            return
        time.sleep(0.01)
    pytest.fail(f"the run ended before step {step}: {process.communicate()[0]}")


def steps_logged(metrics: Path) -> list[int]:
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    return [line["step"] for line in lines if line["kind"] == "train"]


def test_killed_and_resumed_distillation_is_bit_identical(
    tiny: tuple[str, ...], tmp_path: Path, segdistill: Run, start: Start
) -> None:
    recipe = [*tiny, *LONG, "method=[kd, bpkd, {name: cwd, source: embedding}]", "data.labeled=8", "augment.mix=cutmix"]
    library.distill(*recipe, out=tmp_path / "whole", quiet=True)

    folder = tmp_path / "killed"
    for part, step in (("teacher", 2), (".", 5)):
        process = start("distill", *recipe, f"out={folder}", "--resume")
        wait_for_step(process, folder / part / "metrics.jsonl", step)
        process.kill()
        process.wait()
    # Another number of loader workers changes neither the order of the data nor the images.
    last = segdistill("distill", *recipe, f"out={folder}", "workers=2", "--resume")
    assert last.returncode == 0, last.stderr

    for file in ("teacher/teacher", "alone/student", "student"):
        expected = (tmp_path / "whole" / f"{file}.safetensors").read_bytes()
        assert (folder / f"{file}.safetensors").read_bytes() == expected, file
    assert steps_logged(folder / "metrics.jsonl") == list(range(1, 9))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_says_how_to_go_on_and_leaves(
    number: signal.Signals, tiny: tuple[str, ...], tmp_path: Path, segdistill: Run, start: Start
) -> None:
    recipe = [*tiny, "steps=400", "validate_every=400", f"out={tmp_path / 'run'}"]
    process = start("train", *recipe)
    wait_for_step(process, tmp_path / "run" / "metrics.jsonl", 3)
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number
    assert number.name in output
    assert "--resume" in output
    assert "Traceback" not in output
    reached = steps_logged(tmp_path / "run" / "metrics.jsonl")[-1]

    again = segdistill("train", *recipe, f"steps={400}")
    assert again.returncode == 1
    assert "--resume" in again.stderr
    shorter = segdistill("train", *recipe, "steps=401", "--resume")
    assert shorter.returncode == 1
    assert "steps: 400 then, 401 now" in shorter.stderr
    assert steps_logged(tmp_path / "run" / "metrics.jsonl")[-1] == reached


def test_ctrl_c_in_a_terminal_reaches_the_loader_workers_too(
    tiny: tuple[str, ...], tmp_path: Path, start: Start
) -> None:
    recipe = [*tiny, "steps=4000", "validate_every=4000", "workers=2", f"out={tmp_path / 'run'}"]
    process = start("train", *recipe)
    wait_for_step(process, tmp_path / "run" / "metrics.jsonl", 3)
    process.kill_group(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert "--resume" in output
    assert "Traceback" not in output


def test_slurm_sends_its_signal_to_every_process(tiny: tuple[str, ...], tmp_path: Path, start: Start) -> None:
    recipe = [*tiny, "steps=4000", "validate_every=4000", "workers=2", f"out={tmp_path / 'run'}"]
    process = start("train", *recipe)
    wait_for_step(process, tmp_path / "run" / "metrics.jsonl", 3)
    workers = [int(each) for each in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(workers) >= 2
    for pid in (*workers, process.pid):
        os.kill(pid, signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "--resume" in output
    assert "Traceback" not in output


def test_a_signal_while_validating_saves_before_it_is_done(
    tiny: tuple[str, ...], tmp_path: Path, segdistill: Run, start: Start
) -> None:
    slow = ["data.size=[128,128]", "inference.scales=[3,4]"]
    recipe = [*tiny, *slow, "steps=4", "validate_every=2", "checkpoint_every=4", "keep=best"]
    library.train(*recipe, out=tmp_path / "whole", quiet=True)

    metrics = tmp_path / "run" / "metrics.jsonl"
    process = start("train", *recipe, f"out={tmp_path / 'run'}")
    wait_for_step(process, metrics, 2)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "after step 2 of 4" in output
    assert "validation" not in metrics.read_text(), "it went on with a validation that takes many times as long"

    done = segdistill("train", *recipe, f"out={tmp_path / 'run'}", "--resume")
    assert done.returncode == 0, done.stderr
    resumed, other = (
        [(line["kind"], line["step"], line.get("miou")) for line in map(json.loads, file.read_text().splitlines())]
        for file in (metrics, tmp_path / "whole" / "metrics.jsonl")
    )
    assert resumed == other
    same = [(tmp_path / name / "student.safetensors").read_bytes() for name in ("run", "whole")]
    assert same[0] == same[1]


def test_a_signal_while_data_is_awaited_saves(tiny: tuple[str, ...], tmp_path: Path, start: Start) -> None:
    slow = ["data.size=[1000,1400]", "augment.max_class_share=1"]
    process = start("train", *tiny, *slow, "steps=4", "validate_every=4", f"out={tmp_path / 'run'}")
    wait_for_step(process, tmp_path / "run" / "metrics.jsonl", 1)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "after step 1 of 4" in output
    assert "Traceback" not in output
    assert steps_logged(tmp_path / "run" / "metrics.jsonl") == [1]
    assert (tmp_path / "run" / "checkpoints" / "last.pt").is_file()
