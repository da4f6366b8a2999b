"""Which process of a distributed run this is; alone, it is the main one."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, DistributedType, PartialState
from torch import Tensor

from segdistill.core.errors import TrainingError
from segdistill.runtime.failures import explained
from segdistill.runtime.slurm import as_ranks

Shared = TypeVar("Shared")

_PATIENCE = timedelta(hours=2)
"""How long a process waits for another. NCCL's own ten minutes may be over while one fits the class scores of a large
data set, or has the slower share of the images whose logits are cached. One that dies ends the others in any case."""
_NOT_OURS = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)


def start_accelerator() -> Accelerator:
    """Accelerate's view of devices and processes.

    Returns:
        An accelerator without mixed precision: the recipe's counts.

    Raises:
        TrainingError: it was launched with FSDP, DeepSpeed or Megatron-LM.
    """
    _state()
    accelerator = Accelerator(mixed_precision="no")  # the recipe's precision counts, whatever `accelerate launch` says
    if accelerator.distributed_type in _NOT_OURS:
        raise TrainingError(
            f"`accelerate launch` asks for {accelerator.distributed_type.value}; the student is trained by "
            "DistributedDataParallel only. Launch without it; for a large teacher set teacher.shard=true."
        )
    return accelerator


def is_main() -> bool:
    """Whether this process writes files and talks to people."""
    return bool(_state().is_main_process)


def number_of_processes() -> int:
    """Of this run; 1 alone."""
    return int(_state().num_processes)


def process_index() -> int:
    """Which of the processes this is, from 0."""
    return int(_state().process_index)


def is_alone() -> bool:
    """Whether the run has no other process."""
    return number_of_processes() == 1


def wait_for_all() -> None:
    """Let no process go on before all are here: what the main one wrote is then there for the others to read."""
    with explained("waiting for another process"):
        _state().wait_for_everyone()


def own_device() -> torch.device:
    """CUDA if there is one, of several processes each its own."""
    state = _state()
    if state.num_processes > 1:
        return torch.device(state.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def own_share(length: int) -> range:
    """The indices that are this process's: every index belongs to exactly one.

    Args:
        length: of what the processes share.

    Returns:
        Every n-th index below it, n the number of processes.
    """
    return range(_state().process_index, length, _state().num_processes)


def total(counts: Tensor) -> Tensor:
    """The sum over all processes, in place.

    Args:
        counts: of one shape and type on all of them.

    Returns:
        `counts`.
    """
    if _state().num_processes > 1:
        torch.distributed.all_reduce(counts)
    return counts


def agree(received: int | None, accelerator: Accelerator) -> int:
    """The signal that any process received, so that all stop after the same step.

    Args:
        received: the signal of this process, if any.
        accelerator: of the run.

    Returns:
        The largest signal number, or 0.
    """
    number = received or 0
    if accelerator.num_processes == 1:
        return number
    numbers = accelerator.gather(torch.tensor([number], device=accelerator.device))
    return int(numbers.max())


def first_message(message: str | None) -> str | None:
    """The message of the first process that has one, on every process.

    Args:
        message: of this process, if it has one.

    Returns:
        The first message; None if no process has one.
    """
    if is_alone():
        return message
    messages: list[str | None] = [None] * number_of_processes()
    torch.distributed.all_gather_object(messages, message)
    return next((message for message in messages if message), None)


def from_main(value: Shared) -> Shared:
    """A value of the main process, on every process.

    Args:
        value: of this process; only the main one's counts.
    """
    if is_alone():
        return value
    shared: list[Any] = [value]
    torch.distributed.broadcast_object_list(shared, src=0)
    main: Shared = shared[0]
    return main


def all_messages(messages: list[str]) -> list[str]:
    """The messages of all processes, on every process.

    Args:
        messages: of this process.

    Returns:
        Those of the first process, then those of the others.
    """
    if is_alone():
        return messages
    gathered: list[list[str]] = [[]] * number_of_processes()
    torch.distributed.all_gather_object(gathered, messages)
    return [message for each in gathered for message in each]


def _state() -> PartialState:
    os.environ.update(as_ranks(os.environ))
    # Without cpu=True, Accelerate takes processes that have only CPUs for runs of their own.
    return PartialState(cpu=not torch.accelerator.is_available(), timeout=_PATIENCE)
