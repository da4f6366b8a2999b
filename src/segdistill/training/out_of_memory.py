"""What would fit where a run ran out of memory: tried, not guessed."""

from __future__ import annotations

import gc
from dataclasses import replace

import torch

from segdistill.core.errors import SegdistillError
from segdistill.data.augment import Augment
from segdistill.models.network import device_of
from segdistill.runtime.allocator import give_freed_memory_back
from segdistill.runtime.failures import explained
from segdistill.runtime.processes import is_alone
from segdistill.training.dry_run import dry_run
from segdistill.training.task import Task

_LEAST = 2  # images in a micro-batch; batch norm needs two
_RESERVE = 32 * 2**20  # bytes that a dry run leaves free: a run's threads and fragments take some more than its own


def advice(task: Task, augment: Augment) -> str:
    """What to change so that a run fits into memory, found by dry runs of two steps.

    Args:
        task: What ran out of memory; it is thrown away.
        augment: How its samples are cropped.

    Returns:
        A sentence or two.
    """
    config = task.config
    other = "precision=bf16" if config.computes_in == "fp32" else "fewer workers"
    if not is_alone():  # the other processes are not here to be asked
        return f"Take more grad_accumulation, a smaller augment.crop, or {other}."
    height, width = augment.crop
    for crop in ((height, width), (height // 2, width // 2), (height // 4, width // 4)):
        accumulate = None
        # The smallest first: memory that a try ran out of does not always come back.
        for number in _numbers(config.batch_size, config.grad_accumulation, again=crop != augment.crop):
            if not _fits(task, augment.model_copy(update={"crop": crop}), number):
                break
            accumulate = number
        if accumulate is None:
            continue
        split = f"{accumulate} micro-batches of {config.batch_size // accumulate} images"
        if crop == augment.crop:
            return (
                f"A dry run of the same batch in {split} fits: run the same command with "
                f"grad_accumulation={accumulate} --resume. A smaller augment.crop or {other} saves "
                "memory, too, but is another run."
            )
        return (
            f"A dry run with augment.crop=[{crop[0]},{crop[1]}] in {split} fits, and none with the whole crop: choose "
            f"another out=FOLDER, augment.crop=[{crop[0]},{crop[1]}] and grad_accumulation={accumulate}."
        )
    return f"No dry run of smaller batches or crops fits, either. Take smaller networks, or {other}."


def _numbers(batch_size: int, accumulate: int, *, again: bool) -> list[int]:
    """Numbers of micro-batches to try, the most first, each at least twice the next; `again` the present one, too."""
    chosen = [accumulate] if again else []
    least = 2 * accumulate
    for number in range(least, batch_size // _LEAST + 1):
        if batch_size % number == 0 and number >= least:
            chosen.append(number)
            least = 2 * number
    return chosen[::-1]


def _fits(task: Task, augment: Augment, accumulate: int) -> bool:
    smaller = replace(task, config=task.config.model_copy(update={"grad_accumulation": accumulate}))
    _forget(task)
    try:
        with explained("training"):
            _reserve = torch.ones(_RESERVE, dtype=torch.uint8, device=device_of(task.distiller))
            dry_run("dry run", smaller, augment, steps=2, images=task.config.batch_size // accumulate)
    except (SegdistillError, RuntimeError, ValueError):  # no memory; or a crop that the network is too deep for
        return False
    finally:
        _forget(task)
    return True


def _forget(task: Task) -> None:
    task.distiller.zero_grad(set_to_none=True)
    gc.collect()
    give_freed_memory_back()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
