"""Which process of a distributed run this is; alone, it is the main one."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator, DistributedType, PartialState
from torch import Tensor

from segdistill.data.loading import Share
from segdistill.errors import RecipeError, TrainingError
from segdistill.recipe import Recipe, TrainingConfig
from segdistill.training.failures import explained
from segdistill.training.slurm import as_ranks

_NOT_OURS = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)


def start_accelerator() -> Accelerator:
    """Accelerate's view of devices and processes."""
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
    """The indices below `length` that are this process's: every index belongs to exactly one."""
    return range(_state().process_index, length, _state().num_processes)


def own_batches(config: TrainingConfig) -> Share:
    """This process's share of every global batch."""
    state = _state()
    _require_even(config.batch_size, config.accumulate, state.num_processes, "batch_size")
    return Share(config.batch_size, state.process_index, state.num_processes, config.accumulate)


def require_possible(recipe: Recipe, processes: int | None = None) -> None:
    """Refuse what so many processes (default: these) can't do: share an odd batch, norm over processors."""
    processes = _state().num_processes if processes is None else processes
    if recipe.sync_bn and processes > 1 and not torch.accelerator.is_available():
        raise RecipeError(
            "sync_bn=true: torch synchronises batch norm on GPUs only, and this run would train on processors. Leave "
            "sync_bn out."
        )
    _require_even(recipe.batch_size, recipe.accumulate, processes, "batch_size")
    if recipe.teacher.run is None and recipe.teacher.network is not None:
        config = recipe.teacher_training()
        _require_even(config.batch_size, config.accumulate, processes, "teacher.train.batch_size")


def _require_even(batch_size: int, accumulate: int, processes: int, key: str) -> None:
    pieces = processes * accumulate
    if batch_size % pieces:
        raise RecipeError(
            f"{key} {batch_size} can't be shared by {processes} processes in {accumulate} micro-batches; choose a "
            f"multiple of {pieces}."
        )


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


def first_message(own: str | None) -> str | None:
    """The message of the first process that has one, on every process; None if none has."""
    if is_alone():
        return own
    messages: list[str | None] = [None] * number_of_processes()
    torch.distributed.all_gather_object(messages, own)
    return next((message for message in messages if message), None)


def _state() -> PartialState:
    os.environ.update(as_ranks(os.environ))
    # Without cpu=True, Accelerate takes processes that have only CPUs for runs of their own.
    return PartialState(cpu=not torch.accelerator.is_available())
