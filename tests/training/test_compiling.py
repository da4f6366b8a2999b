"""Compiling a run's networks: where it can't be done the run is what it would have been; and it goes on the same."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch._inductor.config
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler

import segdistill

NETWORK = "{name: 'module:dropping:Dropping'}"


def test_without_a_compiler_the_run_goes_on_as_it_is_and_says_so(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    words = [*tiny, f"student={NETWORK}", "steps=2", "validate_every=2"]
    with torch._inductor.config.patch({"cpp.cxx": (None, "/bin/false")}):
        segdistill.train(*words, "compile=auto", out=tmp_path / "tried")
    assert "can't be compiled here and runs as it is" in capsys.readouterr().err
    recorded = json.loads((tmp_path / "tried" / "environment.json").read_text())["compile"]
    assert recorded["student"] is False
    segdistill.train(*words, out=tmp_path / "plain", quiet=True)
    tried, plain = ((tmp_path / name / "student.safetensors").read_bytes() for name in ("tried", "plain"))
    assert tried == plain, "the trial left something behind"
    with pytest.raises(segdistill.SegdistillError, match="compile"):
        segdistill.train(*words, "compile=true", out=tmp_path / "plain", resume=True)


def test_a_compiled_run_that_goes_on_ends_bit_identical(
    tiny: tuple[str, ...], tmp_path: Path, segdistill: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """In a process of its own, which compiles student and teacher once more."""
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        pytest.skip("there is no C++ compiler, which torch.compile needs on a processor")
    words = [
        *tiny, f"student={NETWORK}", f"teacher.network={NETWORK}", "teacher.train.steps=1", "baseline=none", "kd",
        "compile=true", "steps=4", "checkpoint_every=2", "validate_every=4",
    ]  # fmt: skip
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    done = segdistill("distill", *words, f"out={whole}", environment=environment)
    assert done.returncode == 0, done.stderr
    recorded = json.loads((whole / "environment.json").read_text())["compile"]
    assert (recorded["student"], recorded["teacher"]) == (True, True), recorded["why"]

    shutil.copytree(whole, stopped, ignore=shutil.ignore_patterns("student.*"))
    (stopped / "checkpoints" / "previous.pt").replace(stopped / "checkpoints" / "last.pt")
    done = segdistill("distill", *words, f"out={stopped}", "--resume", environment=environment)
    assert done.returncode == 0, done.stderr
    assert "goes on after step 2" in done.stderr
    assert (stopped / "student.safetensors").read_bytes() == (whole / "student.safetensors").read_bytes()
