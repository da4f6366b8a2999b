"""Compiling a run's networks: where it can't be done the run is what it would have been without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch._inductor.config

import segdistill

STUDENT = "student={backbone: test_resnet, head: fcn, channels: 8}"


def test_without_a_compiler_the_run_goes_on_as_it_is_and_says_so(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (None, "/bin/false"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    words = [*tiny, STUDENT, "steps=2", "validate_every=2"]
    segdistill.train(*words, "compile=auto", run=tmp_path / "tried")
    assert "can't be compiled here and runs as it is" in capsys.readouterr().err
    recorded = json.loads((tmp_path / "tried" / "environment.json").read_text())["compile"]
    assert recorded["student"] is False
    segdistill.train(*words, run=tmp_path / "plain", quiet=True)
    own, plain = ((tmp_path / name / "student.safetensors").read_bytes() for name in ("tried", "plain"))
    assert own == plain, "the trial left something behind"
    with pytest.raises(segdistill.SegdistillError, match="compile"):
        segdistill.train(*words, "compile=true", run=tmp_path / "plain", resume=True)
