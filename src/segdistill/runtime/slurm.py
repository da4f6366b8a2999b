"""The tasks of a SLURM step as the processes of one run: what torchrun would set, read from what `srun` sets."""

from __future__ import annotations

import re
from collections.abc import Mapping

_FIRST_PORT, _PORTS = 15_000, 10_000
_SPECIAL_STEPS = 0xFFFFFFF0
"""The steps from here on are SLURM's own: the batch script, the shell of an allocation."""


def as_ranks(environment: Mapping[str, str]) -> dict[str, str]:
    """RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT of a task of a step with several; else nothing.

    Nothing either where RANK or WORLD_SIZE is set, as by torchrun; WORLD_SIZE=1 keeps the tasks of a step apart. A
    shell in an allocation and the batch script itself are no tasks. MASTER_ADDR and MASTER_PORT that are set stay.

    Args:
        environment: the process's variables.

    Returns:
        The variables to add.
    """
    step, task = environment.get("SLURM_STEP_ID", ""), environment.get("SLURM_PROCID", "")
    # SLURM_NTASKS is what was asked for the job, in a shell of it, too; the step's own number says more.
    tasks = environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS", "")
    given = "RANK" in environment or "WORLD_SIZE" in environment
    if given or not (step.isdecimal() and task.isdecimal() and tasks.isdecimal()):
        return {}
    if int(step) >= _SPECIAL_STEPS or int(tasks) < 2:
        return {}
    local = environment.get("SLURM_LOCALID", "0")
    if len(environment.get("CUDA_VISIBLE_DEVICES", "").split(",")) == 1 and environment.get("CUDA_VISIBLE_DEVICES"):
        local = "0"  # --gpus-per-task=1: each task sees its own device, as number 0
    hosts = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    job = environment.get("SLURM_JOB_ID", "0")
    port = _FIRST_PORT + (int(job) + int(step)) % _PORTS if job.isdecimal() else _FIRST_PORT
    return {
        "RANK": task,
        "WORLD_SIZE": tasks,
        "LOCAL_RANK": local,
        "MASTER_ADDR": environment.get("MASTER_ADDR")
        or first_host(hosts)
        or environment.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1"),
        "MASTER_PORT": environment.get("MASTER_PORT", str(port)),
    }


def first_host(hosts: str) -> str:
    """The first of SLURM's list of hosts.

    Args:
        hosts: as "node[03-05,9],login".

    Returns:
        As "node03".
    """
    first = re.match(r"(?:\[[^\]]*\]|[^,\[])*", hosts)
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first.group()) if first else ""
