"""Fast-SCNN: a shallow stem at stride 8, a deep branch from there, and their sum."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.models.families.base import Backbone, initialize
from segdistill.models.layers import AdaptiveAveragePool, ConvNormAct, SeparableConv, resize_like

EXPANSION = 6
SCALES = (1, 2, 3, 6)


class InvertedResidual(nn.Sequential):
    """1x1 convolution to six times the channels, depthwise 3x3, 1x1 back; plus what came in if the shape stays.

    Args:
        inputs: Channels that come in.
        channels: That go out.
        stride: Of the depthwise convolution.
    """

    def __init__(self, inputs: int, channels: int, *, stride: int = 1) -> None:
        wide = EXPANSION * inputs
        super().__init__(
            ConvNormAct(inputs, wide),
            ConvNormAct(wide, wide, 3, stride=stride, groups=wide),
            ConvNormAct(wide, channels, act=False),
        )
        self.adds = stride == 1 and inputs == channels

    def forward(self, x: Tensor) -> Tensor:
        """The block.

        Args:
            x: Maps (N,inputs,h,w).

        Returns:
            (N,channels,h/stride,w/stride).
        """
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + y if self.adds else y


class FastSCNN(Backbone):
    """RGB (N,3,H,W) -> 64 and 128 channels at stride 8, 128 at stride 32, finest first.

    The stem (second auxiliary head), the sum of both (the head), the deep branch (first auxiliary head).

    Source: Poudel et al., "Fast-SCNN", arXiv 1902.04502.
    """

    def __init__(self) -> None:
        super().__init__([64, 128, 128], [8, 8, 32])
        self.stem = nn.Sequential(
            ConvNormAct(3, 32, 3, stride=2),
            SeparableConv(32, 48, stride=2, depthwise_act=False),
            SeparableConv(48, 64, stride=2, depthwise_act=False),
        )
        stages, inputs = [], 64
        for channels, stride in ((64, 2), (96, 2), (128, 1)):
            rest = [InvertedResidual(channels, channels) for _ in range(2)]
            stages.append(nn.Sequential(InvertedResidual(inputs, channels, stride=stride), *rest))
            inputs = channels
        self.deep = nn.Sequential(*stages)
        self.pools = nn.ModuleList(AdaptiveAveragePool(scale) for scale in SCALES)
        self.ppm = nn.ModuleList(ConvNormAct(inputs, inputs // len(SCALES)) for _ in SCALES)
        self.out = ConvNormAct(2 * inputs, 128, 3)
        self.lower = nn.Sequential(ConvNormAct(128, 128, 3, groups=128), ConvNormAct(128, 128, act=False))
        self.higher = ConvNormAct(64, 128, act=False)
        initialize(self)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.01

    def forward(self, image: Tensor) -> list[Tensor]:
        """Stem, sum and deep branch.

        Args:
            image: RGB (N,3,H,W), normalized.

        Returns:
            (N,64,H/8,W/8), (N,128,H/8,W/8) and (N,128,H/32,W/32).
        """
        fine = self.stem(image)
        x = self.deep(fine)
        pooled = [resize_like(conv(pool(x)), x) for pool, conv in zip(self.pools, self.ppm, strict=True)]
        coarse = self.out(torch.cat([x, *pooled], dim=1))
        fused = F.relu(self.lower(resize_like(coarse, fine)) + self.higher(fine))
        return [fine, fused, coarse]
