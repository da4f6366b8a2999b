"""What the machine has: threads, devices, free memory and disk."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from segdistill.diagnosis.free_memory import free_memory
from segdistill.runtime.environment import describe_environment


@dataclass(frozen=True)
class Machine:
    """What the machine has.

    Attributes:
        name: of the processor.
        cpus: that this process may use.
        threads: of torch.
        device: name of the GPU, or "cpu".
        memory: bytes that this process may still take; None if unknown.
        device_memory: bytes that are free on the GPU; None without CUDA.
        folder: where the run writes.
        disk: bytes that are free there.
    """

    name: str
    cpus: int
    threads: int
    device: str
    memory: int | None
    device_memory: int | None
    folder: str
    disk: int


def describe_machine(run: Path | None) -> Machine:
    """This machine, as a run finds it.

    Args:
        run: the folder of the run; None for runs/.

    Returns:
        Processors, and free memory and disk in bytes.
    """
    environment = describe_environment()
    folder = (run or Path("runs")).absolute()
    while not folder.is_dir():
        folder = folder.parent
    return Machine(
        name=environment["machine"],
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        device=environment["device"],
        memory=free_memory(),
        device_memory=torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None,
        folder=str(folder),
        disk=shutil.disk_usage(folder).free,
    )
