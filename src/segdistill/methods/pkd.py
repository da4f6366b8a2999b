"""PKD: features whose channels correlate with the teacher's, whatever their mean and scale."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from segdistill.core.numbers import NonNegative
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method
from segdistill.methods.parts import ranks
from segdistill.methods.parts.connectors import Source, connector, maps_of


class PKD(Method):
    """Features equal the teacher's after each channel is standardised over the batch.

    Good for teacher and student of different families, whose features differ in scale; classes may differ.

    L = weight / 2 * mean over n, channels, positions of (u(f_s) - u(f_t))^2,  u(f) = (f - mean) / (std + 1e-6)
    f (N,C,h,w); mean and unbiased std of a channel are over all positions of all images, so L is about 1 minus the
    channels' Pearson correlation. Void positions are left out of all three; all void gives 0. Channels that differ
    meet through a learned 1x1 convolution without bias (the published code wants them equal). Grids that differ meet on
    the finer one. Classes may differ.

    Defaults: weight 1 of the formula; the source is this project's choice, as the paper is about detectors. Source: Cao
    et al., arXiv 2207.02039.

    Args:
        source: the maps f: "embedding" (the decoder's) or "features" (the last backbone stage).
        weight: of the term.
        as_published: void positions count as well.
    """

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        source: Source = "embedding",
        weight: NonNegative = 1.0,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes, frozenset({source}))
        self.source = source
        self.weight = weight
        self.as_published = as_published
        self.connector = connector(maps_of(student, source), maps_of(teacher, source))

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """The term on the finer of the two grids.

        Args:
            student: its `source` (N,C_s,h,w) is read.
            teacher: its `source` (N,C_t,h',w').
            label: (N,H,W), 255 is left out; None: all positions count.

        Returns:
            "pkd".
        """
        f_s, f_t = finer(self.connector(maps_of(student, self.source)), maps_of(teacher, self.source))
        valid = self.counted(label, f_s)
        return {"pkd": self.weight / 2 * standardised_gap(f_s, f_t, valid, (0, 2, 3), eps=1e-6)}


def standardised_gap(f_s: Tensor, f_t: Tensor, valid: Tensor | None, dims: tuple[int, ...], eps: float) -> Tensor:
    """Mean square of the difference of maps that are standardised along `dims`: u = (f - mean) / (std + eps), std
    unbiased.

    By f_s alone it can be differentiated, and once.

    Args:
        f_s: the student's maps (N,C,h,w).
        f_t: the teacher's maps (N,C,h,w).
        valid: bool (N,1,h,w), the positions that count; None: all.
        dims: axes of the statistics; over the images of all ranks if 0 is among them.
        eps: added to the standard deviations.

    Returns:
        A scalar; 0 if no position counts.
    """
    value: Tensor = _StandardisedGap.apply(f_s, f_t, valid, dims, eps)
    return value


class _StandardisedGap(torch.autograd.Function):
    """The gradient, made in the forward pass, is all that is kept.

    With u = c / (s + eps), c the centred maps and s their standard deviation over n positions, and d = u_s - u_t, that
    of sum d^2 by f_s is 2 (d / (s + eps) - u_s sum(d u_s) / ((n - 1) s)). It already has the mean 0 that centring would
    give it. The ranks' gradients of the loss are taken to be equal, as they are in a run.
    """

    @staticmethod
    def forward(ctx: Any, f_s: Tensor, f_t: Tensor, valid: Tensor | None, dims: tuple[int, ...], eps: float) -> Tensor:
        # Three maps are made, and what they hold changes from line to line; autograd would keep more:
        #
        #   after          products    u_s        u_t
        #   _standardised  centred^2   u_s        u_t
        #   gap            -           u_s        u_s - u_t
        #   value          gap^2       u_s        gap
        #   along          gap * u_s   u_s        gap
        #   gradient       -           gradient   gap         u_s, overwritten, is all that is kept
        keep = torch.ones_like(f_s[:, :1]) if valid is None else valid.to(f_s.dtype)
        count = ranks.sum_over(keep, dims)
        products = torch.empty_like(f_s)  # written over and over: memory that is at hand is the faster one
        (u_s, std), (u_t, _) = (_standardised(f, keep, count, dims, eps, products) for f in (f_s, f_t))
        gap = torch.sub(u_s, u_t, out=u_t)
        divisor = ranks.mean_count(keep.sum()) * f_s.shape[1]
        value = torch.mul(gap, gap, out=products).sum() / divisor
        if ctx.needs_input_grad[0]:
            along = ranks.sum_over(torch.mul(gap, u_s, out=products), dims) / (count - 1).clamp_min(1)
            along /= std.clamp_min(1e-30)  # in a constant channel u_s is 0, whatever it is multiplied with
            gradient = u_s.mul_(along * (-2 / divisor)).addcmul_(gap, 2 / divisor / (std + eps))
            ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream, None, None, None, None


def _standardised(
    f: Tensor, keep: Tensor, count: Tensor, dims: tuple[int, ...], eps: float, products: Tensor
) -> tuple[Tensor, Tensor]:
    """(f - mean) / (std + eps) over the `count` positions to `keep`, 0 at the others; and the unbiased std."""
    kept = f * keep
    centred = kept.addcmul_(ranks.sum_over(kept, dims) / count.clamp_min(1), keep, value=-1)
    std = (ranks.sum_over(torch.mul(centred, centred, out=products), dims) / (count - 1).clamp_min(1)).sqrt()
    return centred.div_(std + eps), std
