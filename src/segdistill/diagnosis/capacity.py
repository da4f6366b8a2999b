"""Whether what a dry run measured fits the machine."""

from __future__ import annotations

from collections.abc import Iterator

from segdistill.core.findings import Finding
from segdistill.diagnosis.machine import Machine
from segdistill.training.dry_run import DryRun


def check_capacity(done: DryRun, machine: Machine) -> Iterator[Finding]:
    """Whether the run fits the machine.

    Args:
        done: what a dry run needed.
        machine: what there is.

    Yields:
        Findings.
    """
    free = machine.memory if machine.device_memory is None else machine.device_memory
    if free is not None and done.memory > free:
        yield Finding(
            "problem",
            "run",
            f"{done.what} needs about {done.memory / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are free.",
            "Take a smaller augment.crop or batch_size, more grad_accumulation, or precision=bf16.",
        )
    if done.disk > machine.disk:
        yield Finding(
            "problem",
            "run",
            f"{done.what} writes about {done.disk / 1e9:.2f} GB; {machine.disk / 1e9:.2f} GB are free in "
            f"{machine.folder}.",
            "Choose another out=FOLDER, or make room.",
        )
