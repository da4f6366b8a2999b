"""Trained views of the student for losses: batch norm that leaves void out, and a head to the teacher's space."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segdistill.methods import ranks


class KnownBatchNorm(nn.BatchNorm2d):
    """Batch norm of (N,C,h,w) whose statistics are those of the `valid` positions (N,1,h,w) of all ranks' batches."""

    def forward(self, input: Tensor, valid: Tensor | None = None) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        if not self.training:
            return super().forward(input)
        valid = torch.ones_like(input[:, :1], dtype=torch.bool) if valid is None else valid
        x = torch.where(valid, input, 0.0)
        sums = ranks.total(torch.cat([x.sum((0, 2, 3)), valid.sum()[None].to(x.dtype)]))
        count = sums[-1].clamp_min(1)
        mean = (sums[:-1] / count)[:, None, None]
        centred = x + -mean  # the way back of a difference would negate the whole map
        var = ranks.total((centred * valid).square().sum((0, 2, 3))) / count
        with torch.no_grad():
            momentum = self.momentum * (sums[-1] > 0)
            self.running_mean.lerp_(mean.flatten().to(self.running_mean), momentum.to(self.running_mean))
            unbiased = var * count / (count - 1).clamp_min(1)
            self.running_var.lerp_(unbiased.to(self.running_var), momentum.to(self.running_var))
        scale = (self.weight * (var + self.eps).rsqrt())[:, None, None]
        return torch.addcmul(self.bias[:, None, None], centred, scale)


class ConvNorm(nn.Sequential):
    """1x1 convolution without bias, batch norm and ReLU; `valid` as in `KnownBatchNorm`."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(nn.Conv2d(channels, out, 1, bias=False), KnownBatchNorm(out), nn.ReLU())

    def forward(self, input: Tensor, valid: Tensor | None = None) -> Tensor:
        maps: Tensor = self[2](self[1](self[0](input), valid))
        return maps


class ProjectionHead(nn.Sequential):
    """Student maps (N,C_s,h,w) in the teacher's space (N,C_t,h,w): convolution, batch norm, ReLU, convolution (1x1)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(*ConvNorm(channels, out), nn.Conv2d(out, out, 1, bias=False))

    def forward(self, input: Tensor, valid: Tensor | None = None) -> Tensor:
        maps: Tensor = self[3](self[2](self[1](self[0](input), valid)))
        return maps
