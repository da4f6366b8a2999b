"""Trained views of the student for losses: batch norm that leaves void out, and a head to the teacher's space."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from segdistill.methods.parts import ranks
from segdistill.methods.parts.connectors import Pointwise


class KnownBatchNorm(nn.BatchNorm2d):
    """Batch norm of (N,C,h,w) whose statistics are those of the `valid` positions (N,1,h,w) of all ranks' batches.

    The others become 0. In training its gradient can't be differentiated again.
    """

    def forward(self, input: Tensor, valid: Tensor | None = None) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        keep = torch.ones_like(input[:, :1]) if valid is None else valid.to(input.dtype)
        if not self.training:
            return super().forward(input) * keep
        normed, mean, var, count = _Normed.apply(input, keep, self.weight, self.bias, self.eps)
        with torch.no_grad():
            momentum = self.momentum * (count > 0)
            self.running_mean.lerp_(mean.to(self.running_mean), momentum.to(self.running_mean))
            unbiased = var * count / (count - 1).clamp_min(1)
            self.running_var.lerp_(unbiased.to(self.running_var), momentum.to(self.running_var))
        maps: Tensor = normed
        return maps


class _Normed(torch.autograd.Function):
    """Batch norm over the positions where `keep` (N,1,h,w) is 1, and its statistics, in few passes over memory.

    With c the centred maps, s = 1 / sqrt(var + eps) and n positions, the result is weight * s * c + bias where kept and
    0 elsewhere; its gradient g becomes weight * s * (g - sum(g) / n - c * s^2 * sum(g * c) / n), all over what is kept.
    """

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, keep: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        kept = input * keep
        sums = ranks.total(torch.cat([kept.sum((0, 2, 3)), keep.sum()[None]]))
        count = sums[-1]
        mean = sums[:-1] / count.clamp_min(1)
        centred = kept.addcmul_(_column(mean), keep, value=-1)
        squares = torch.linalg.vector_norm(centred, dim=(0, 2, 3)).square()
        var = ranks.total(squares) / count.clamp_min(1)
        per_std = (var + eps).rsqrt()
        ctx.save_for_backward(centred, keep, weight, per_std, count)
        ctx.mark_non_differentiable(mean, var, count)
        return (keep * _column(bias)).addcmul_(centred, _column(weight * per_std)), mean, var, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        centred, keep, weight, per_std, count = ctx.saved_tensors
        along = (upstream * centred).sum((0, 2, 3))
        gradient = upstream * keep
        straight = gradient.sum((0, 2, 3))
        of_input = None
        if ctx.needs_input_grad[0]:
            over_all = ranks.total(torch.stack([straight, along])) / count.clamp_min(1)
            scale = weight * per_std
            gradient.mul_(_column(scale)).addcmul_(centred, _column(-scale * per_std.square() * over_all[1]))
            of_input = gradient.addcmul_(keep, _column(-scale * over_all[0]))
        return of_input, None, along * per_std, straight, None


def _column(of_channels: Tensor) -> Tensor:
    return of_channels[:, None, None]


class ConvNorm(nn.Sequential):
    """1x1 convolution without bias, batch norm and ReLU; `valid` as in `KnownBatchNorm`."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(Pointwise(channels, out), KnownBatchNorm(out), nn.ReLU())

    def forward(self, input: Tensor, valid: Tensor | None = None) -> Tensor:
        maps: Tensor = self[2](self[1](self[0](input), valid))
        return maps


class ProjectionHead(nn.Sequential):
    """Student maps (N,C_s,h,w) in the teacher's space (N,C_t,h,w): convolution, batch norm, ReLU, convolution (1x1)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(*ConvNorm(channels, out), Pointwise(out, out))

    def forward(self, input: Tensor, valid: Tensor | None = None) -> Tensor:
        maps: Tensor = self[3](self[2](self[1](self[0](input), valid)))
        return maps
