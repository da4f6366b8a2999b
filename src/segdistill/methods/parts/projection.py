"""Trained views of the student for losses: batch norm that leaves void out, and a head to the teacher's space."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segdistill.methods.parts import ranks

_ALL_BUT_CHANNELS = (0, 2, 3)


class KnownBatchNorm(nn.BatchNorm2d):
    """Batch norm of (N,C,h,w) whose statistics are those of the `valid` positions (N,1,h,w) of all ranks' batches.

    The others become 0.
    """

    def forward(self, input: Tensor, valid: Tensor | None = None) -> Tensor:
        """Normalized maps.

        Args:
            input: maps (N,C,h,w).
            valid: bool (N,1,h,w), the positions that count; None: all.

        Returns:
            (N,C,h,w), 0 where not `valid`.
        """
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        keep = torch.ones_like(input[:, :1]) if valid is None else valid.to(input.dtype)
        if not self.training:
            return super().forward(input) * keep
        count = ranks.sum_over(keep, _ALL_BUT_CHANNELS)
        mean = ranks.sum_over(input * keep, _ALL_BUT_CHANNELS) / count.clamp_min(1)
        centered = (input - mean) * keep
        var = ranks.sum_over(centered.square(), _ALL_BUT_CHANNELS) / count.clamp_min(1)
        with torch.no_grad():
            # A product of a number and a bool is float32, in which a momentum of 0.1 has 8 digits.
            momentum = self.momentum * (count > 0).flatten().to(self.running_mean)
            unbiased = var * count / (count - 1).clamp_min(1)
            self.running_mean.lerp_(mean.flatten().to(self.running_mean), momentum)
            self.running_var.lerp_(unbiased.flatten().to(self.running_var), momentum)
        scale = self.weight[:, None, None] * (var + self.eps).rsqrt()
        return centered * scale + self.bias[:, None, None] * keep


class ConvNorm(nn.Sequential):
    """1x1 convolution without bias, batch norm and ReLU; `valid` as in `KnownBatchNorm`.

    Args:
        channels: of the maps.
        out: channels of the result.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(nn.Conv2d(channels, out, 1, bias=False), KnownBatchNorm(out), nn.ReLU())

    def forward(self, input: Tensor, valid: Tensor | None = None) -> Tensor:
        """The maps, normalised and cut at 0.

        Args:
            input: maps (N,channels,h,w).
            valid: bool (N,1,h,w), the positions that the norm counts; None: all.

        Returns:
            (N,out,h,w), 0 where not `valid`.
        """
        maps: Tensor = self[2](self[1](self[0](input), valid))
        return maps


class ProjectionHead(nn.Sequential):
    """Student maps in the teacher's space: 1x1 convolution, batch norm, ReLU, 1x1 convolution; `valid` as in
    `KnownBatchNorm`.

    Args:
        channels: C_s of the student's maps (N,C_s,h,w).
        out: C_t of the result (N,C_t,h,w).
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(*ConvNorm(channels, out), nn.Conv2d(out, out, 1, bias=False))

    def forward(self, input: Tensor, valid: Tensor | None = None) -> Tensor:
        """The student's maps in the teacher's space.

        Args:
            input: maps (N,C_s,h,w).
            valid: bool (N,1,h,w), the positions that the norm counts; None: all.

        Returns:
            (N,C_t,h,w), 0 where not `valid`.
        """
        maps: Tensor = self[3](self[2](self[1](self[0](input), valid)))
        return maps
