"""A step of SLURM with several tasks is one run; one task, a shell in an allocation and torchrun are not touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import environment
from snippets import blocks

from segdistill.runtime.slurm import as_ranks, first_host

from .test_resume import steps_logged

STEP = {
    "SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "2", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8", "SLURM_JOB_NODELIST": "gpu[03-04,9],login", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1",
}  # fmt: skip


def test_a_task_knows_its_place() -> None:
    assert as_ranks(STEP) == {
        "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "gpu03", "MASTER_PORT": "19713",
    }  # fmt: skip
    ranks = as_ranks({**STEP, "MASTER_ADDR": "head", "MASTER_PORT": "29500", "CUDA_VISIBLE_DEVICES": "3"})
    assert (ranks["MASTER_ADDR"], ranks["MASTER_PORT"]) == ("head", "29500")
    assert ranks["LOCAL_RANK"] == "0", "a task that sees one device has it as number 0"
    assert as_ranks({**STEP, "CUDA_VISIBLE_DEVICES": "0,1,2,3"})["LOCAL_RANK"] == "1"


@pytest.mark.parametrize(
    "change",
    [
        {"RANK": "0"},
        {"WORLD_SIZE": "1"},
        {"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_STEP_NUM_TASKS": "1"},  # the shell of an allocation of 8 tasks
        {"SLURM_STEP_ID": "4294967290"},  # the same, as SLURM's own step
        {"SLURM_STEP_ID": "batch"},
        {"SLURM_STEP_ID": ""},  # the batch script
        {"SLURM_PROCID": ""},
    ],
)
def test_what_is_no_task_of_several_is_left_alone(change: dict[str, str]) -> None:
    assert as_ranks({**STEP, **change}) == {}


@pytest.mark.parametrize(
    ("hosts", "first"),
    [("a1", "a1"), ("a1,b2", "a1"), ("n[7,9-12]", "n7"), ("r[1-2]n[003-9]-ib,x", "r1n003-ib"), ("", "")],
)
def test_the_first_host_of_a_list(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


@pytest.mark.slow
def test_the_script_of_the_page_trains_one_network_with_two_tasks(tiny: tuple[str, ...], tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "distributed.md"
    (text,) = (block.text for block in blocks(page) if block.text.startswith("#!/bin/bash"))
    (script := tmp_path / "slurm.sh").write_text(text)
    tasks = "\n".join(f'SLURM_PROCID={i} SLURM_LOCALID={i} "$@" & all="$all $!"' for i in (0, 1))
    step = "export SLURM_JOB_ID=$$ SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NODELIST=localhost"
    programs = {
        "srun": f"{step}\n{tasks}\nfor one in $all; do wait $one || exit 1; done",  # what SLURM would do on its nodes
        "segdistill": f'exec {sys.executable} -m segdistill "$@"',
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", str(script), "train", *tiny, "steps=2", f"out={tmp_path / 'run'}"],
        env={**environment(), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("reaches mIoU") == 1
    assert steps_logged(tmp_path / "run" / "metrics.jsonl") == [1, 2]
