"""Which process of a distributed run this is; alone, it is the main one."""

from __future__ import annotations

import torch
from accelerate import Accelerator, PartialState


def start_accelerator() -> Accelerator:
    """Accelerate's view of devices and processes."""
    _state()
    return Accelerator()


def is_main() -> bool:
    """Whether this process writes files and talks to people."""
    return bool(_state().is_main_process)


def wait_for_all() -> None:
    """Let no process go on before all are here: what the main one wrote is then there for the others to read."""
    _state().wait_for_everyone()


def _state() -> PartialState:
    # Without cpu=True, Accelerate takes processes that have only CPUs for runs of their own.
    return PartialState(cpu=not torch.accelerator.is_available())
