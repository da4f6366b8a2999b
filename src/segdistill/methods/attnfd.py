"""Attention-guided distillation: both networks' features are refined by attention, then compared as wholes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from segdistill.core.numbers import NonNegative
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method, labelled, mean_where
from segdistill.methods.parts.attention import Attention
from segdistill.methods.parts.connectors import Pointwise, Source, maps_of
from segdistill.methods.parts.projection import KnownBatchNorm


class AttnFD(Method):
    """The refined features, as one vector of unit length an image, equal the teacher's.

    L = weight * mean over images of | x / |x| - y / |y| |^2,  x = BN(conv1x1(refine(f_s))),  y = refine(f_t)
    f_s (N,C_s,h,w), f_t (N,C_t,h,w). refine is CBAM, learned for both networks: f times a weight per channel (from its
    mean and its maximum over positions, through one small network), times a weight per position (7x7 convolution of
    mean and maximum over channels). Both learn from L alone. Void positions are 0 in x and y, and enter neither the
    attention nor the batch norm. All void gives 0. Grids that differ meet on the finer one. Classes may differ.

    source: "features" (the last backbone stage) or "embedding"; the authors sum over several stages. attention: with
    false, refine does nothing. weight: of the term. as_published: one length for the whole batch, whose square is then
    divided by N, so that the value shrinks with the batch (it is about N times smaller), and void counts.
    Default: weight 2 of the authors' code. Source: Mansourian et al., "Attention-guided feature distillation for
    semantic segmentation", arXiv 2403.05451; attention after Woo et al., arXiv 1807.06521.
    Typical on CamVid (mobile_pair): at step 10 attnfd 1.8 to 7.3; at step 300 attnfd 0.36 to 1.5.
    """

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        source: Source = "features",
        attention: bool = True,
        weight: NonNegative = 2.0,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes, frozenset({source}))
        self.source = source
        self.weight = weight
        self.as_published = as_published
        c_s, c_t = maps_of(student, source).shape[1], maps_of(teacher, source).shape[1]
        self.refine_student = Attention(c_s) if attention else _Untouched()
        self.refine_teacher = Attention(c_t) if attention else _Untouched()
        self.connector = nn.Sequential(Pointwise(c_s, c_t), KnownBatchNorm(c_t))

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        f_s, f_t = finer(maps_of(student, self.source), maps_of(teacher, self.source))
        valid = torch.ones_like(f_s[:, :1], dtype=torch.bool)
        if label is not None and not self.as_published:
            valid = labelled(label, f_s)
        conv, norm = self.connector
        x = norm(conv(self.refine_student(f_s, valid)), valid)
        y = self.refine_teacher(f_t, valid)
        if self.as_published:
            return {"attnfd": self.weight * _unit_gap(x, y, (0, 1, 2, 3)) / len(x)}
        return {"attnfd": self.weight * mean_where(_unit_gap(x, y, (1, 2, 3)), valid.flatten(1).any(1))}


def _unit_gap(x: Tensor, y: Tensor, dims: tuple[int, ...]) -> Tensor:
    """| x / |x| - y / |y| |^2 along `dims`, from three products: neither of the unit vectors is made."""
    xx, yy, xy = (products.sum(0) if 0 in dims else products for products in _Products.apply(x, y))
    per_x, per_y = (square.clamp_min(1e-24).rsqrt() for square in (xx, yy))
    gap: Tensor = xx * per_x.square() + yy * per_y.square() - 2 * xy * per_x * per_y
    return gap


class _Products(torch.autograd.Function):
    """x.x, y.y and x.y (N) of maps (N,C,h,w), with gradients in two passes over memory each."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(x, y)
        xx, yy = (torch.linalg.vector_norm(each, dim=(1, 2, 3)).square() for each in (x, y))
        return xx, yy, (x * y).sum((1, 2, 3))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_xx: Tensor, of_yy: Tensor, of_xy: Tensor) -> tuple[Tensor, Tensor]:
        x, y = ctx.saved_tensors
        of_xx, of_yy, of_xy = (each[:, None, None, None] for each in (of_xx, of_yy, of_xy))
        return (x * (2 * of_xx)).addcmul_(y, of_xy), (y * (2 * of_yy)).addcmul_(x, of_xy)


class _Untouched(nn.Module):
    def forward(self, maps: Tensor, valid: Tensor) -> Tensor:
        return maps * valid
