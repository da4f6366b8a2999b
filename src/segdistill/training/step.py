"""Forward and backward of one optimiser step, the same in a run and in the replay of a fault."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from segdistill.data.loading import Batch

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
    dtype = DTYPES[precision]
    sums: dict[str, Tensor] = {}
    for number, batch in enumerate(batches):
        with contextlib.nullcontext() if number == len(batches) - 1 else unsynced():
            with torch.autocast(batch.image.device.type, dtype, enabled=dtype is not torch.float32):
                terms: dict[str, Tensor] = model(batch.image, batch.label, step, batch.target)
            loss = torch.stack(list(terms.values())).sum()
            scaler.scale(loss / len(batches)).backward()
        for name, value in terms.items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() / len(batches)
    return sums
