"""Two processes train one network: one log, and validation shared between them counts every image once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_two_processes_share_the_work_and_write_one_run(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = [*tiny, "steps=3", "teacher.train.steps=2", "kd", "validate_every=3", "baseline=none"]
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29517",
            "-m", "segdistill", "distill", *words, f"run={tmp_path / 'two'}",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3]
    # The last validation was split between the processes; the table scores the whole split in one.
    (shared,) = (line for line in lines if line["kind"] == "validation")
    whole = json.loads((tmp_path / "two" / "result.json").read_text())["rows"][-1]["scores"]
    assert [shared[key] for key in ("miou", "macc", "aacc")] == pytest.approx(
        [whole[key] for key in ("miou", "macc", "aacc")], abs=0.02
    )
