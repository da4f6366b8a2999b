"""Rows of similarities between vectors: the divergence of two networks' rows, without keeping the rows."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_ENTRIES = 1 << 20  # similarities in memory at a time, three times


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

    Some rows and one group at a time are worked off, with their gradient, so that memory grows with A + J M and not
    with their product. Not twice differentiable.

    Args:
        rows_s: the student's rows (A,C_s).
        keys_s: the student's keys (J,M,C_s), in J groups.
        rows_t: the teacher's rows (A,C_t).
        keys_t: the teacher's keys (J,M,C_t).
        tau: divisor of the similarities.
        row_weight: (A,).
        group_weight: (J,).
        valid: bool (J,M), the keys that take part; a group without one must weigh 0. None: all.

    Returns:
        A scalar.
    """
    value: Tensor = _RelationDivergence.apply(rows_s, keys_s, rows_t, keys_t, tau, row_weight, group_weight, valid)
    return value


# The parts, drawn for 4 rows and 2 groups of keys, 2 rows at a time:
#
#            group 1   group 2
#   row 1, 2  part 1    part 2
#   row 3, 4  part 3    part 4
#
# A part is a matrix, rows x keys of one group, of similarities, then of their exponentials, then of the student's
# slopes, all in the same memory. A softmax is over one group, so each part has whole ones. It adds its sum to the
# total, slope @ keys to the gradient of its rows and slope.T @ rows to that of its keys; the next part is written over
# it.
# Autograd would keep such matrices of all rows and groups until the backward pass.
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
        keep = keys_s.new_ones(groups, size)
        if valid is not None:
            # A group that is all invalid keeps its keys, so that its softmax stays finite; its weight is 0. In others
            # the first valid key is compared in the place of an invalid one: the maximum stays, and it is not counted.
            seen = valid | ~valid.any(1, keepdim=True)
            keep = seen.to(keys_s.dtype)
            index = torch.where(seen, torch.arange(size, device=seen.device), seen.byte().argmax(1, keepdim=True))
            keys_s, keys_t = (keys.take_along_dim(index[..., None], 1) for keys in (keys_s, keys_t))
        for_rows, for_keys = ctx.needs_input_grad[:2]
        counted = keys_s * keep[..., None]
        grad_rows = torch.zeros_like(rows_s) if for_rows else None
        grad_keys = torch.zeros_like(keys_s) if for_keys else None
        rows_s, rows_t = rows_s / tau, rows_t / tau
        total = rows_s.new_zeros(())
        step = max(1, _ENTRIES // size)
        memory = rows_s.new_empty(3, min(step, len(rows_s)), size)
        for start, group in product(range(0, len(rows_s), step), range(groups)):
            part = slice(start, min(start + step, len(rows_s)))
            x_s, x_t, gap = memory[:, : part.stop - start]
            torch.mm(rows_s[part], keys_s[group].T, out=x_s)
            torch.mm(rows_t[part], keys_t[group].T, out=x_t)
            torch.sub(x_t, x_s, out=gap)
            top_s, top_t = x_s.amax(1, keepdim=True), x_t.amax(1, keepdim=True)
            mass_s, mass_t = x_s.sub_(top_s).exp_() @ keep[group], x_t.sub_(top_t).exp_() @ keep[group]
            shift = (top_s - top_t)[:, 0] + (mass_s / mass_t).log()  # of the logarithms of the softmaxes' divisors
            weight = row_weight[part] * group_weight[group]
            total += ((gap.mul_(x_t) @ keep[group] / mass_t + shift) * weight).sum()
            if grad_rows is not None or grad_keys is not None:
                slope = x_s.mul_((weight / mass_s)[:, None]).addcmul_(x_t, (weight / mass_t)[:, None], value=-1)
                if grad_rows is not None:
                    grad_rows[part].addmm_(slope, counted[group], alpha=1 / tau)
                if grad_keys is not None:
                    grad_keys[group].addmm_(slope.T, rows_s[part])
        if grad_keys is not None:
            grad_keys *= keep[..., None]
        ctx.save_for_backward(grad_rows, grad_keys)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        grads = (None if grad is None else upstream * grad for grad in ctx.saved_tensors)
        return (*grads, None, None, None, None, None, None)
