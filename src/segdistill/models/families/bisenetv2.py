"""BiSeNetV2: a detail branch and a semantic branch that weigh each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segdistill.models.families.base import Backbone, initialize
from segdistill.models.layers import BatchNorm, ConvNormAct, SeparableConv, resize_like

DETAIL = ((64, 2), (64, 3), (128, 3))
"""Channels and convolutions of the detail branch's stages."""
SEMANTIC = ((32, 2), (64, 2), (128, 4))
"""Channels and layers of the semantic branch's stages, after its stem of 16 channels."""
STEM = 16
EXPANSION = 6


class Stem(nn.Module):
    """RGB -> (N,16,H/4,W/4): a convolution at stride 2, then convolutions and max-pooling side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_first = ConvNormAct(3, STEM, 3, stride=2)
        self.convs = nn.Sequential(ConvNormAct(STEM, STEM // 2), ConvNormAct(STEM // 2, STEM, 3, stride=2))
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.fuse_last = ConvNormAct(2 * STEM, STEM, 3)

    def forward(self, image: Tensor) -> Tensor:
        """The first maps of the semantic branch.

        Args:
            image: RGB (N,3,H,W), normalized.

        Returns:
            (N,16,H/4,W/4).
        """
        x = self.conv_first(image)
        y: Tensor = self.fuse_last(torch.cat([self.convs(x), self.pool(x)], dim=1))
        return y


class GatherExpand(nn.Module):
    """Gather-and-expansion: 3x3 convolution, depthwise 3x3 to six times the channels, 1x1 back, and a shortcut.

    At stride 2 a depthwise convolution comes in between, and the shortcut is a separable convolution.

    Args:
        inputs: Channels that come in.
        channels: That go out.
        stride: 1, where as many go out as come in, or 2.
    """

    def __init__(self, inputs: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        wide = EXPANSION * inputs
        self.conv1 = ConvNormAct(inputs, inputs, 3)
        expand = ConvNormAct(inputs, wide, 3, stride=stride, groups=inputs, act=stride == 1)
        again = [] if stride == 1 else [ConvNormAct(wide, wide, 3, groups=wide)]
        self.depthwise = nn.Sequential(expand, *again)
        self.conv2 = ConvNormAct(wide, channels, act=False)
        self.shortcut: nn.Module = (
            nn.Identity()
            if stride == 1
            else SeparableConv(inputs, channels, stride=stride, depthwise_act=False, act=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The block.

        Args:
            x: Maps (N,inputs,h,w).

        Returns:
            (N,channels,h/stride,w/stride), not negative.
        """
        return torch.relu(self.conv2(self.depthwise(self.conv1(x))) + self.shortcut(x))


class ContextEmbedding(nn.Module):
    """conv(x + relu(norm(W norm(mean(x))))), the convolution 3x3.

    Args:
        channels: Of what comes in and goes out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = BatchNorm(channels)
        self.conv_gap = ConvNormAct(channels, channels)
        self.conv_last = ConvNormAct(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """The maps with their mean added.

        Args:
            x: Maps (N,C,h,w).

        Returns:
            (N,C,h,w).
        """
        y: Tensor = self.conv_last(x + self.conv_gap(self.norm(x.mean((-2, -1), keepdim=True))))
        return y


class GuidedAggregation(nn.Module):
    """conv(d1 sigmoid(up(s1)) + up(d2 sigmoid(s2))) for detail d at stride 8 and semantics s at stride 32.

    d1 and s2 are separable convolutions without a norm at their end, d2 and s1 convolutions; d2 is at stride 32.

    Args:
        channels: Of both maps and of what goes out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.detail = _Separable(channels)
        self.detail_down = nn.Sequential(ConvNormAct(channels, channels, 3, stride=2, act=False), nn.AvgPool2d(3, 2, 1))
        self.semantic_up = ConvNormAct(channels, channels, 3, act=False)
        self.semantic = _Separable(channels)
        self.conv = ConvNormAct(channels, channels, 3)

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """Both branches as one map.

        Args:
            detail: Maps (N,C,h,w) at stride 8.
            semantic: Maps (N,C,h/4,w/4) at stride 32.

        Returns:
            (N,C,h,w) at stride 8.
        """
        fine = self.detail(detail)
        fine = fine * torch.sigmoid(resize_like(self.semantic_up(semantic), fine))
        coarse = self.detail_down(detail) * torch.sigmoid(self.semantic(semantic))
        y: Tensor = self.conv(fine + resize_like(coarse, fine))
        return y


class _Separable(nn.Sequential):
    """Depthwise 3x3 with a norm, then pointwise 1x1 with a bias."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            ConvNormAct(channels, channels, 3, groups=channels, act=False), nn.Conv2d(channels, channels, 1)
        )


class BiSeNetV2(Backbone):
    """RGB (N,3,H,W) -> five stages, finest first.

    The semantic branch at strides 4, 8, 16 and 32, which an auxiliary head each reads, and as the second stage what
    both branches give together at stride 8, which the head reads.

    Source: Yu et al., "BiSeNet V2", arXiv 2004.02147; the norms and ReLUs are those of OpenMMLab's weights.
    """

    def __init__(self) -> None:
        widths = [channels for channels, _ in SEMANTIC]
        super().__init__([STEM, DETAIL[-1][0], *widths], [4, 8, 8, 16, 32])
        stages, inputs = [], 3
        for channels, count in DETAIL:
            rest = [ConvNormAct(channels, channels, 3) for _ in range(count - 1)]
            stages.append(nn.Sequential(ConvNormAct(inputs, channels, 3, stride=2), *rest))
            inputs = channels
        self.detail = nn.Sequential(*stages)
        self.stem = Stem()
        stages, inputs = [], STEM
        for channels, count in SEMANTIC:
            layers = [GatherExpand(channels, channels) for _ in range(count - 1)]
            stages.append(nn.Sequential(GatherExpand(inputs, channels, stride=2), *layers))
            inputs = channels
        self.semantic = nn.ModuleList(stages)
        self.context = ContextEmbedding(inputs)
        self.bga = GuidedAggregation(inputs)
        initialize(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The stages of both branches.

        Args:
            image: RGB (N,3,H,W), normalized.

        Returns:
            Five maps at strides 4, 8, 8, 16 and 32; the second is what both branches give together.
        """
        maps = [self.stem(image)]
        for stage in self.semantic:
            maps.append(stage(maps[-1]))
        fused = self.bga(self.detail(image), self.context(maps[-1]))
        return [maps[0], fused, *maps[1:]]
