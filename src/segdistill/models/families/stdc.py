"""STDC: short-term dense concatenation, with a context path of attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.numbers import Count
from segdistill.models.families.attention import AttentionRefinement, GlobalAttention, bring_up
from segdistill.models.families.base import Backbone, initialize
from segdistill.models.layers import ConvNormAct

WIDTHS = (256, 512, 1024)
"""Channels at strides 8, 16 and 32."""
CONTEXT = 128


class STDCBlock(nn.Module):
    """Four convolutions in a row, each half as wide as the one before; their outputs are concatenated to `channels`.

    The first is 1x1. At stride 2 its output goes through a depthwise 3x3 convolution for the others, and is averaged
    over 3x3 pixels for the concatenation.

    Args:
        inputs: Channels that come in.
        channels: That go out.
        stride: 1 or 2.
    """

    def __init__(self, inputs: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        half = channels // 2
        self.layers = nn.ModuleList(
            [
                ConvNormAct(inputs, half),
                ConvNormAct(half, half // 2, 3),
                ConvNormAct(half // 2, half // 4, 3),
                ConvNormAct(half // 4, half // 4, 3),
            ]
        )
        self.downsample = ConvNormAct(half, half, 3, stride=2, groups=half, act=False) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        """The block.

        Args:
            x: Maps (N,inputs,h,w).

        Returns:
            (N,channels,h/stride,w/stride).
        """
        x = self.layers[0](x)
        maps = [x]
        if self.downsample is not None:
            maps, x = [F.avg_pool2d(x, 3, 2, 1)], self.downsample(x)
        for layer in self.layers[1:]:
            x = layer(x)
            maps.append(x)
        return torch.cat(maps, dim=1)


class STDC(Backbone):
    """RGB (N,3,H,W) -> five stages, finest first.

    Three at stride 8: the 256 channels that the detail head reads, the context that the first auxiliary head reads and
    what both give together, which the head reads. At stride 16 the context that the second auxiliary head reads; at
    stride 32 the last stage.

    Source: Fan et al., "Rethinking BiSeNet for real-time semantic segmentation", arXiv 2104.13188.

    Args:
        blocks: In each of the three stages.
    """

    def __init__(self, *, blocks: tuple[Count, Count, Count] = (2, 2, 2)) -> None:
        super().__init__([WIDTHS[0], CONTEXT, 256, CONTEXT, WIDTHS[2]], [8, 8, 8, 16, 32])
        stages: list[nn.Module] = [ConvNormAct(3, 32, 3, stride=2), ConvNormAct(32, 64, 3, stride=2)]
        inputs = 64
        for width, count in zip(WIDTHS, blocks, strict=True):
            rest = [STDCBlock(width, width) for _ in range(count - 1)]
            stages.append(nn.Sequential(STDCBlock(inputs, width, stride=2), *rest))
            inputs = width
        self.stages = nn.ModuleList(stages)
        self.conv_avg = ConvNormAct(WIDTHS[2], CONTEXT)
        self.arms = nn.ModuleList(AttentionRefinement(width, CONTEXT) for width in WIDTHS[:0:-1])
        self.convs = nn.ModuleList(ConvNormAct(CONTEXT, CONTEXT, 3) for _ in self.arms)
        self.ffm = Fusion(WIDTHS[0] + CONTEXT, 256)
        initialize(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The stages of backbone and context path.

        Args:
            image: RGB (N,3,H,W), normalized.

        Returns:
            Five maps at strides 8, 8, 8, 16 and 32.
        """
        maps, x = [], image
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        fine, middle, coarse = maps[2:]
        x = self.conv_avg(coarse.mean((-2, -1), keepdim=True))
        context = []
        for arm, conv, source, target in zip(self.arms, self.convs, (coarse, middle), (middle, fine), strict=True):
            x = conv(bring_up(arm(source) + x, target))
            context.append(x)
        return [fine, context[1], self.ffm(torch.cat([fine, context[1]], dim=1)), context[0], coarse]


class Fusion(nn.Module):
    """x + x a with x a 1x1 convolution of what comes in, a = sigmoid(W2 relu(W1 mean(x))) one number a channel.

    Args:
        inputs: Channels that come in.
        channels: That go out.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.conv0 = ConvNormAct(inputs, channels)
        self.attention = GlobalAttention(
            nn.Conv2d(channels, channels // 4, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels // 4, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Detail and context fused.

        Args:
            x: Their maps, concatenated, (N,inputs,h,w).

        Returns:
            (N,channels,h,w).
        """
        x = self.conv0(x)
        y: Tensor = x + x * self.attention(x)
        return y
