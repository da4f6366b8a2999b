"""Which process of a distributed run this is; alone, it is the main one."""

from __future__ import annotations

import torch
from accelerate import Accelerator, PartialState
from torch import Tensor


def start_accelerator() -> Accelerator:
    """Accelerate's view of devices and processes."""
    _state()
    return Accelerator()


def is_main() -> bool:
    """Whether this process writes files and talks to people."""
    return bool(_state().is_main_process)


def is_alone() -> bool:
    """Whether the run has no other process."""
    return bool(_state().num_processes == 1)


def wait_for_all() -> None:
    """Let no process go on before all are here: what the main one wrote is then there for the others to read."""
    _state().wait_for_everyone()


def own_device() -> torch.device:
    """CUDA if there is one, of several processes each its own."""
    state = _state()
    if state.num_processes > 1:
        return torch.device(state.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def own_share(length: int) -> range:
    """The indices below `length` that are this process's: every index belongs to exactly one."""
    return range(_state().process_index, length, _state().num_processes)


def total(counts: Tensor) -> Tensor:
    """The sum of `counts` over all processes, in place."""
    if _state().num_processes > 1:
        torch.distributed.all_reduce(counts)
    return counts


def agree(received: int | None, accelerator: Accelerator) -> int:
    """The signal that any process received, or 0; all processes then stop after the same step."""
    number = received or 0
    if accelerator.num_processes == 1:
        return number
    numbers = accelerator.gather(torch.tensor([number], device=accelerator.device))
    return int(numbers.max())


def _state() -> PartialState:
    # Without cpu=True, Accelerate takes processes that have only CPUs for runs of their own.
    return PartialState(cpu=not torch.accelerator.is_available())
