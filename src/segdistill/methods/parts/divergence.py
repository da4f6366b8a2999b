"""The divergence of two networks' distributions, with its gradient made in the forward pass."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_LEAST = -1e30


# Two classes, scores whose probabilities are p_t = (0.8, 0.2) and p_s = (0.5, 0.5), T = 1:
#
#   log p_t - log p_s   (0.47, -0.92)
#   times p_t           (0.38, -0.18)    KL = their sum, 0.19
#   for the student     (0.5 - 0.8, 0.5 - 0.2) = (-0.3, 0.3), kept where log p_s was
#
# Autograd would keep both log p_s and p_t.
class Divergence(torch.autograd.Function):
    """KL(softmax(teacher / T) || softmax(student / T)) along `dim`; its gradients are all that is kept.

    They are p_s - p_t for the student and p_t (log p_t - log p_s - KL) for the teacher, each over T. The arguments are
    those of `methods.base.divergence`; positions where not `keep` have probability zero in both.
    """

    @staticmethod
    def forward(
        ctx: Any, teacher: Tensor, student: Tensor, dim: int, temperature: float, keep: Tensor | None
    ) -> Tensor:
        """The divergence of each row.

        Args:
            ctx: Keeps the gradients that are asked for, each of the scores' size.
            teacher: Scores of any shape.
            student: Scores of the same shape.
            dim: The axis of the softmax.
            temperature: T > 0.
            keep: Bool, broadcast to the scores; None: all are kept.

        Returns:
            The shape of the scores without `dim`.
        """
        hide = None if keep is None else torch.zeros_like(keep, dtype=student.dtype).masked_fill_(~keep, -torch.inf)

        def log_softmax(x: Tensor) -> Tensor:
            if hide is not None:
                x = torch.add(hide, x, alpha=1 / temperature)
            elif temperature != 1:
                x = x / temperature
            return F.log_softmax(x, dim)

        log_t, log_s = log_softmax(teacher), log_softmax(student)
        p_t = log_t.exp()
        # Where both are -inf, 0 * (-inf - -inf) must be 0, not NaN.
        shares = log_t.clamp_min_(_LEAST).sub_(log_s.clamp_min_(_LEAST)).mul_(p_t)
        rows = shares.sum(dim)
        for_teacher, for_student = ctx.needs_input_grad[:2]
        ctx.dim, ctx.temperature = dim, temperature
        ctx.save_for_backward(
            shares.sub_(p_t * rows.unsqueeze(dim)) if for_teacher else None,
            log_s.exp_().sub_(p_t) if for_student else None,
        )
        return rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """The kept gradients times the one of the result.

        Args:
            ctx: What `forward` left.
            upstream: The shape of the scores without `dim`.

        Returns:
            For the teacher's and the student's scores, None where none was asked for; None for the other arguments.
        """
        upstream = (upstream / ctx.temperature).unsqueeze(ctx.dim)
        slopes = (None if slope is None else slope * upstream for slope in ctx.saved_tensors)
        return *slopes, None, None, None
