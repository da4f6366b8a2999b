"""Forward and backward of one optimiser step, the same in a run and in the replay of a fault."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from segdistill.core.precision import Precision, computing_in
from segdistill.data.loading import Batch
from segdistill.training.task_loss import micro_batch_shares


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
