"""Processes that share a run: one log, each image counted once, stopped and gone on with together."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from processes import in_two

import segdistill
from segdistill.cli.launching import launch
from segdistill.core.errors import RecipeError
from segdistill.recipe.recipe import load_recipe
from segdistill.runtime.processes import number_of_processes
from segdistill.training.shares import require_possible

from .test_resume import steps_logged, wait_for_step

Start = Callable[..., subprocess.Popen[str]]


def _distil(rank: int, words: list[str]) -> dict[str, Any]:
    return segdistill.distill(*words, quiet=True).study.as_dict()


def _iou(study: dict[str, Any]) -> list[list[float]]:
    """Of every class, of the teacher and the students."""
    return [row["iou"] for row in (study["teacher"], *study["outcomes"])]


def test_two_processes_share_the_work_and_write_one_run(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = [*tiny, "steps=3", "teacher.train.steps=2", "kd", "validate_every=3", "baseline=none"]
    words += ["teacher.precision=bf16", f"out={tmp_path / 'two'}"]
    studies = in_two(_distil, words)
    lines = [json.loads(line) for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3]
    # TensorBoard's files are the main process's: one of the training, one of the table.
    assert len([*(tmp_path / "two" / "tensorboard").glob("events.*")]) == 2
    # The last validation was split between the processes; the table scores the whole split in one.
    (shared,) = (line for line in lines if line["kind"] == "validation")
    whole = json.loads((tmp_path / "two" / "study.json").read_text())["outcomes"][-1]
    assert [shared[key] for key in ("miou", "macc", "aacc")] == pytest.approx(
        [whole[key] for key in ("miou", "macc", "aacc")], abs=0.02
    )
    # A teacher that was trained here is kept in parts as a given one is, and is whole again for the table.
    again = in_two(_distil, [*words, f"teacher.weights={tmp_path / 'two' / 'teacher'}", "teacher.shard=true",
                             f"out={tmp_path / 'sharded'}"])  # fmt: skip
    for sharded, kept in zip(_iou(again[0]), _iou(studies[0]), strict=True):
        assert sharded == kept


def test_launched_processes_are_stopped_together_and_one_goes_on(
    tiny: tuple[str, ...], tmp_path: Path, start: Start
) -> None:
    words = [*tiny, "steps=60", "validate_every=60", f"out={tmp_path / 'run'}"]
    metrics = tmp_path / "run" / "metrics.jsonl"
    process = start("train", *words, "nproc=2")
    wait_for_step(process, metrics, 1)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGTERM, output
    assert output.count("--resume") == 1, output
    assert "Traceback" not in output
    stopped = steps_logged(metrics)[-1]
    assert stopped < 60
    segdistill.train(*words, resume=True, quiet=True)
    assert steps_logged(metrics) == list(range(1, 61))


def _patience(rank: int) -> float:
    assert number_of_processes() == 2
    return dist.distributed_c10d._get_default_group()._get_backend(torch.device("cpu")).options._timeout.total_seconds()


def test_processes_wait_for_what_one_of_them_does_alone() -> None:
    hour = 3600  # NCCL's own patience is ten minutes
    assert min(in_two(_patience, joined=False)) > hour


def test_numbers_of_processes_that_cannot_be_are_refused(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RecipeError, match="nproc is 0; expected"):
        launch(0)
    with pytest.raises(RecipeError, match=r"batch_size 4 can't be shared by 3 processes .* multiple of 3"):
        launch(3, tiny)
    with pytest.raises(RecipeError, match=r"teacher.train.batch_size 6 can't be shared by 4 processes"):
        launch(4, [*tiny, "teacher.train.batch_size=6"])
    with pytest.raises(RecipeError, match="torch synchronises batch norm on GPUs only"):
        require_possible(load_recipe(*tiny, "sync_bn=true"), 2)
    with monkeypatch.context() as on_gpus:
        on_gpus.setattr(torch.accelerator, "is_available", lambda: True)
        with pytest.raises(RecipeError, match=r"wgan-gp: .* second derivatives.* sync_bn=false"):
            require_possible(load_recipe(*tiny, "adversary", "method.adversary.loss=wgan-gp"), 2)
    with pytest.raises(RecipeError, match=r"teacher.shard=true: .* nproc=N"):
        segdistill.distill(*tiny, "kd", "teacher.shard=true", out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RecipeError, match="there are 1 CUDA devices"):
        launch(2)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(RecipeError, match="already started 4 processes"):
        launch(2)
    assert not launch(4)
