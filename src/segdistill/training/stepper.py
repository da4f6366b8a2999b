"""One optimiser step: forward and backward of its batches, and new weights or what stood in the way and is left out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from segdistill.core.precision import Precision, computing_in
from segdistill.core.seeds import mix
from segdistill.data.loading import Batch, Share
from segdistill.recipe.training import TrainingConfig
from segdistill.runs.checkpoint import Progress
from segdistill.training.distiller import Distiller
from segdistill.training.faults.nonfinite import Faults, Memory, Reading, read
from segdistill.training.faults.unreadable import Unreadable
from segdistill.training.task_loss import micro_batch_shares
from segdistill.training.update import Update


@dataclass(frozen=True)
class Stepper:
    """model: the distiller as it is distributed. say: tells people. write: a line of the journal."""

    config: TrainingConfig
    distiller: Distiller
    model: nn.Module
    accelerator: Accelerator
    share: Share
    update: Update
    memory: Memory
    faults: Faults
    unreadable: Unreadable
    say: Callable[[str], object]
    write: Callable[[str, int, dict[str, Any]], object]

    def __call__(self, batches: Iterator[Batch], progress: Progress) -> tuple[Reading, float]:
        """Take the step after `progress`; what was read of it, and its learning rate."""
        config, update = self.config, self.update
        began = time.perf_counter()
        rate = update.set_rate(progress.step, progress.rate)
        torch.manual_seed(mix(config.seed, progress.step, self.accelerator.process_index))
        self.memory.keep()
        self.distiller.train()
        parts = [next(batches).to(self.accelerator.device) for _ in range(config.grad_accumulation)]
        for index, why in self.unreadable.note(parts, progress).items():
            self.say(f"replaced by another sample: {why}")
            self.write("unreadable", progress.step + 1, {"sample": index, "why": why})
        losses = forward_backward(
            self.model, parts, progress.step, precision=config.precision, scaler=update.scaler,
            unsynced=lambda: self.accelerator.no_sync(self.model),
        )  # fmt: skip
        norms = update.norms()
        found = read(losses, norms)  # the one place where a step waits for the device: weights must not change before
        if found.faults:
            self.memory.restore()
            places = self.share.positions(progress.step)
            told = self.faults.answer(found, parts, places, progress, update.scaler.get_scale())
            self.say(told)
            self.write("fault", progress.step + 1, {"told": told, "lr_factor": progress.rate})
        else:
            update.apply(norms)
        update.clear()
        progress.step += 1
        progress.seconds += time.perf_counter() - began
        return found, rate


def forward_backward(
    model: nn.Module,
    batches: Sequence[Batch],
    step: int,
    *,
    precision: Precision,
    scaler: torch.amp.GradScaler,
    unsynced: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
) -> dict[str, Tensor]:
    """Gradients of the micro-batches of a step; the scalar terms, averaged over them and detached.

    unsynced: entered for all micro-batches but the last, where processes need not exchange gradients.
    """
    sums: dict[str, Tensor] = {}
    shares = micro_batch_shares([batch.label for batch in batches]) if len(batches) > 1 else [None]
    for number, (batch, share) in enumerate(zip(batches, shares, strict=True)):
        with contextlib.nullcontext() if number == len(batches) - 1 else unsynced():
            with computing_in(precision, batch.image.device):
                terms: dict[str, Tensor] = model(batch.image, batch.label, step, batch.target, share)
            loss = torch.stack(list(terms.values())).sum()
            scaler.scale(loss / len(batches)).backward()
        for name, value in terms.items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() / len(batches)
    return sums
