"""precision=auto: what the trial finds is what the run does, keeps, and does again."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path
from unittest import mock

import pytest
import torch
from processes import in_two

import segdistill
from segdistill.core.precision import computes_in_bf16
from segdistill.core.remembered import remembered
from segdistill.recipe.recipe import load_recipe
from segdistill.runs.folder import RunFolder
from segdistill.training import plan, precision_trial
from segdistill.training.precision_trial import settle_precision

QUICK = ("kd", "baseline=none", "teacher.train.steps=1", "teacher.train.precision=fp32", "steps=4", "validate_every=4")


@pytest.fixture(autouse=True)
def _a_machine_that_computes_in_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(precision_trial, "computes_in_bf16", lambda device: True)
    monkeypatch.setattr(precision_trial, "_FEW", 2)


def precisions(run: Path) -> tuple[str, str | None]:
    recorded = json.loads((run / "environment.json").read_text())["precision"]
    return recorded["student"], recorded["teacher"]


def student(run: Path) -> bytes:
    return (run / "student.safetensors").read_bytes()


def test_where_bf16_is_faster_the_run_is_one_in_bf16_and_goes_on_so(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*tiny, *QUICK, "checkpoint_every=2"]
    monkeypatch.setattr(precision_trial, "bf16_gain", lambda network, pixels, trains: 2.0)
    segdistill.distill(*words, precision="auto", out=tmp_path / "auto")
    assert "precision: student bf16 (bf16 is 2.00 times as fast" in capsys.readouterr().err
    segdistill.distill(*words, precision="bf16", out=tmp_path / "bf16", quiet=True)
    assert precisions(tmp_path / "auto") == ("bf16", "bf16")
    assert student(tmp_path / "auto") == student(tmp_path / "bf16")

    stopped = tmp_path / "stopped"
    shutil.copytree(tmp_path / "auto", stopped, ignore=shutil.ignore_patterns("student.*"))
    (stopped / "checkpoints" / "previous.pt").replace(stopped / "checkpoints" / "last.pt")
    monkeypatch.setattr(precision_trial, "computes_in_bf16", lambda device: False)  # as on another machine
    segdistill.distill(*words, precision="auto", out=stopped, resume=True, quiet=True)
    assert student(stopped) == student(tmp_path / "auto")


def test_a_trial_that_finds_fp32_leaves_nothing_behind(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision_trial, "GAIN", float("inf"))
    segdistill.distill(*tiny, *QUICK, precision="auto", out=tmp_path / "auto", quiet=True)
    segdistill.distill(*tiny, *QUICK, precision="fp32", out=tmp_path / "fp32", quiet=True)
    assert precisions(tmp_path / "auto") == ("fp32", "fp32")
    assert student(tmp_path / "auto") == student(tmp_path / "fp32")


def test_a_network_whose_logits_bf16_changes_stays_in_fp32(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision_trial, "bf16_gain", lambda network, pixels, trains: 2.0)
    monkeypatch.setitem(precision_trial._TOLERANCE, "student", 0.0)
    segdistill.distill(*tiny, *QUICK, precision="auto", out=tmp_path / "auto", quiet=True)
    assert precisions(tmp_path / "auto") == ("fp32", "bf16")


def _settled(rank: int, words: list[str]) -> tuple[str, str]:
    """What a process computes in that measures otherwise than the other one."""
    with mock.patch.multiple(
        precision_trial, computes_in_bf16=lambda device: True, _FEW=2,
        bf16_gain=lambda network, pixels, trains: 2.0 if rank == 0 else 0.5,
    ):  # fmt: skip
        task = plan.resolve(load_recipe(*words)).task_with_teacher()
        lines: list[str] = []
        task = settle_precision(task, RunFolder(Path(str(task.recipe.out))), lines.append)
    return task.config.precision, task.teacher_config.precision


def test_all_processes_compute_as_the_first_one_finds(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = [*tiny, *QUICK, "precision=auto", f"out={tmp_path / 'run'}"]
    assert in_two(_settled, words) == [("bf16", "bf16"), ("bf16", "bf16")]


def test_a_short_run_is_not_tried(tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_trial, "_FEW", 5)
    segdistill.train(*tiny, "steps=4", "validate_every=4", precision="auto", out=tmp_path / "auto", quiet=True)
    assert precisions(tmp_path / "auto") == ("fp32", None)


def test_a_number_is_measured_once_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([1.5, 2.5, 3.5])
    numbers_of = [remembered("test", key, lambda: next(numbers)) for key in ("one", "one", "another")]
    assert numbers_of == [1.5, 1.5, 2.5]
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # nothing can be written below a file
    assert remembered("test", "one", lambda: next(numbers)) == 3.5


@pytest.mark.skipif(platform.machine() != "x86_64" or not Path("/proc/cpuinfo").exists(), reason="asks Linux on x86")
def test_the_processor_says_whether_it_computes_in_bf16() -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    assert computes_in_bf16(torch.device("cpu")) == ("avx512_bf16" in flags or "amx_bf16" in flags)


def test_a_precision_that_the_processor_imitates_is_named(
    tiny: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, precision in (("half", "bf16"), ("whole", "fp32")):
        segdistill.train(*tiny, "steps=2", precision=precision, out=tmp_path / name)
        imitated = precision == "bf16" and not computes_in_bf16(torch.device("cpu"))
        assert ("precision: this machine does not compute in bf16" in capsys.readouterr().err) == imitated
