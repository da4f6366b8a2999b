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
from segdistill.training.faults.nonfinite import Faults, Reading, Snapshot, read
from segdistill.training.faults.unreadable import Unreadable
from segdistill.training.task_loss import micro_batch_shares
from segdistill.training.update import Update


@dataclass(frozen=True)
class Stepper:
    """Makes the steps of a run, one a call.

    Attributes:
        config: How the run trains.
        distiller: Student, methods and teacher.
        model: The distiller as it is distributed.
        accelerator: Device and processes.
        share: This process's share of every batch.
        update: From gradients to new weights.
        snapshot: What is put back when a step is left out.
        faults: What the run does about a number that is not finite.
        unreadable: The samples that could not be read.
        log: Takes messages for people.
        write: Writes a line of the journal.
    """

    config: TrainingConfig
    distiller: Distiller
    model: nn.Module
    accelerator: Accelerator
    share: Share
    update: Update
    snapshot: Snapshot
    faults: Faults
    unreadable: Unreadable
    log: Callable[[str], object]
    write: Callable[[str, int, dict[str, Any]], object]

    def __call__(self, batches: Iterator[Batch], progress: Progress) -> tuple[Reading, float]:
        """Make the step after `progress`.

        Args:
            batches: The micro-batches of all steps to come.
            progress: Of the run; the step is added.

        Returns:
            The step's numbers, and its learning rate.

        Raises:
            TrainingError: If a number is not finite and the recipe says to stop then.
            DataError: If too many samples can't be read.
        """
        config, update = self.config, self.update
        began = time.perf_counter()
        rate = update.set_rate(progress.step, progress.rate)
        torch.manual_seed(mix(config.seed, progress.step, self.accelerator.process_index))
        self.snapshot.take()
        self.distiller.train()
        micro_batches = [next(batches).to(self.accelerator.device) for _ in range(config.grad_accumulation)]
        for index, why in self.unreadable.note(micro_batches, progress).items():
            self.log(f"replaced by another sample: {why}")
            self.write("unreadable", progress.step + 1, {"sample": index, "why": why})
        losses = forward_backward(
            self.model, micro_batches, progress.step, precision=config.computes_in, scaler=update.scaler,
            no_sync=lambda: self.accelerator.no_sync(self.model),
        )  # fmt: skip
        norms = update.norms()
        # The one place where a step waits for the device: the weights must not change before the numbers are known.
        reading = read(losses, norms)
        if reading.faults:
            self.snapshot.restore()
            positions = self.share.positions(progress.step)
            message = self.faults.answer(reading, micro_batches, positions, progress, update.scaler.get_scale())
            self.log(message)
            self.write("fault", progress.step + 1, {"message": message, "lr_factor": progress.rate})
        else:
            self.distiller.rest(progress.step)
            update.apply(norms)
        update.clear()
        progress.step += 1
        progress.seconds += time.perf_counter() - began
        return reading, rate


def forward_backward(
    model: nn.Module,
    batches: Sequence[Batch],
    step: int,
    *,
    precision: Precision,
    scaler: torch.amp.GradScaler,
    no_sync: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
) -> dict[str, Tensor]:
    """Add the gradients of the micro-batches of a step to those of the parameters.

    Args:
        model: The distiller, distributed or not.
        batches: The micro-batches.
        step: From 0.
        precision: What the networks compute in.
        scaler: Of the loss, in fp16.
        no_sync: Entered for all micro-batches but the last, where processes need not exchange gradients.

    Returns:
        The scalar terms of the loss by name, averaged over the micro-batches and detached.
    """
    sums: dict[str, Tensor] = {}
    shares = micro_batch_shares([batch.label for batch in batches]) if len(batches) > 1 else [None]
    for number, (batch, share) in enumerate(zip(batches, shares, strict=True)):
        with contextlib.nullcontext() if number == len(batches) - 1 else no_sync():
            with computing_in(precision, batch.image.device):
                terms: dict[str, Tensor] = model(batch.image, batch.label, step, batch.target, share)
            loss = torch.stack(list(terms.values())).sum()
            scaler.scale(loss / len(batches)).backward()
        for name, value in terms.items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() / len(batches)
    return sums
