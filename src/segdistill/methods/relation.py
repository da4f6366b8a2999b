"""Rows of similarities between vectors: the divergence of two networks' rows, without keeping the rows."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_ENTRIES = 1 << 20  # similarities in memory at a time


def relation_divergence(
    rows_s: Tensor,
    keys_s: Tensor,
    rows_t: Tensor,
    keys_t: Tensor,
    *,
    tau: float,
    row_weight: Tensor,
    group_weight: Tensor,
    valid: Tensor | None = None,
) -> Tensor:
    """sum over rows a, groups j of row_weight_a group_weight_j KL( p_t || p_s ), p = softmax_m(rows_a . keys_jm / tau).

    rows: (A,C), keys: (J,M,C), of student and teacher (C may differ between the two). row_weight: (A,), group_weight:
    (J,). valid: (J,M) bool, the keys that take part; a group without one must weigh 0. Rows are worked off in chunks,
    each with its gradient, so that memory grows with A + J M and not with their product. Not twice differentiable.
    """
    value: Tensor = _RelationDivergence.apply(rows_s, keys_s, rows_t, keys_t, tau, row_weight, group_weight, valid)
    return value


class _RelationDivergence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows_s: Tensor,
        keys_s: Tensor,
        rows_t: Tensor,
        keys_t: Tensor,
        tau: float,
        row_weight: Tensor,
        group_weight: Tensor,
        valid: Tensor | None,
    ) -> Tensor:
        groups, size = keys_s.shape[:2]
        flat_s, flat_t = keys_s.flatten(0, 1), keys_t.flatten(0, 1)
        # A group that is all invalid keeps its keys, so that its softmax stays finite; its weight is 0.
        hidden = None if valid is None else ~(valid | ~valid.any(1, keepdim=True))
        for_rows, for_keys = ctx.needs_input_grad[:2]
        grad_rows = torch.empty_like(rows_s) if for_rows else None
        grad_keys = torch.zeros_like(flat_s) if for_keys else None
        total = rows_s.new_zeros(())

        def log_rows(rows: Tensor, keys: Tensor) -> Tensor:
            scores = (rows @ keys.T).view(-1, groups, size).div_(tau)
            return F.log_softmax(scores if hidden is None else scores.masked_fill_(hidden, -torch.inf), dim=2)

        step = max(1, _ENTRIES // (groups * size))
        for start in range(0, len(rows_s), step):
            part = slice(start, start + step)
            log_s, log_t = log_rows(rows_s[part], flat_s), log_rows(rows_t[part], flat_t)
            weight = row_weight[part, None] * group_weight
            p_t = log_t.exp()
            gap = log_t.sub_(log_s) if hidden is None else log_t.sub_(log_s).masked_fill_(hidden, 0.0)
            total += (gap.mul_(p_t).sum(2) * weight).sum()
            if grad_rows is not None or grad_keys is not None:
                slope = log_s.exp_().sub_(p_t).mul_(weight[..., None] / tau).flatten(1)
                if grad_rows is not None:
                    torch.mm(slope, flat_s, out=grad_rows[part])
                if grad_keys is not None:
                    grad_keys.addmm_(slope.T, rows_s[part])
        ctx.save_for_backward(grad_rows, None if grad_keys is None else grad_keys.view_as(keys_s))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        grads = (None if grad is None else upstream * grad for grad in ctx.saved_tensors)
        return (*grads, None, None, None, None, None, None)
