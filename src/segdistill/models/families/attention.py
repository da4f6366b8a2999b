"""Attention over channels, as BiSeNet and STDC use it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.models.layers import ConvNormAct


class GlobalAttention(nn.Sequential):
    """(N,C,h,w) -> (N,C,1,1): the sigmoid of what its layers make of the map's mean."""

    def forward(self, x: Tensor) -> Tensor:
        """One weight a channel.

        Args:
            x: Maps (N,C,h,w).

        Returns:
            (N,C,1,1) in (0,1).
        """
        return torch.sigmoid(super().forward(x.mean((-2, -1), keepdim=True)))  # type: ignore[no-untyped-call]


class AttentionRefinement(nn.Module):
    """ARM: x a with x a 3x3 convolution of what comes in and a = sigmoid(norm(conv(mean(x)))), one number a channel.

    Source: Yu et al., "BiSeNet", arXiv 1808.00897.

    Args:
        inputs: Channels that come in.
        channels: That go out.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.conv = ConvNormAct(inputs, channels, 3)
        self.attention = GlobalAttention(ConvNormAct(channels, channels, act=False))

    def forward(self, x: Tensor) -> Tensor:
        """The convolved maps, each channel weighted.

        Args:
            x: Maps (N,inputs,h,w).

        Returns:
            (N,channels,h,w).
        """
        x = self.conv(x)
        y: Tensor = x * self.attention(x)
        return y


def bring_up(maps: Tensor, like: Tensor) -> Tensor:
    """Maps (N,C,h,w) at the size of `like` (N,*,H,W), by the nearest pixel.

    Args:
        maps: What is resized.
        like: Whose size it gets.

    Returns:
        (N,C,H,W).
    """
    return F.interpolate(maps, (like.shape[-2], like.shape[-1]), mode="nearest")
