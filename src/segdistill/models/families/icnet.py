"""ICNet: the image at three sizes, the deepest branch on the smallest, fused in a cascade."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.numbers import Count
from segdistill.models.families.base import Backbone, initialize
from segdistill.models.layers import AdaptiveAveragePool, ConvNormAct, resize_like
from segdistill.models.variants import create_variant

SCALES = (1, 2, 3, 6)


class CascadeFusion(nn.Module):
    """relu(l + W h) and l; l a dilated 3x3 convolution of the coarse map at the size of the fine one, h.

    Args:
        low: Channels of the coarse map.
        high: Channels of the fine map.
        channels: Of both results.
    """

    def __init__(self, low: int, high: int, channels: int) -> None:
        super().__init__()
        self.conv_low = ConvNormAct(low, channels, 3, dilation=2)
        self.conv_high = ConvNormAct(high, channels)

    def forward(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Both maps on the finer grid.

        Args:
            low: Coarse maps (N,low,h',w').
            high: Fine maps (N,high,h,w).

        Returns:
            The sum after a ReLU, and the coarse maps before it, which an auxiliary head reads; each (N,channels,h,w).
        """
        low = self.conv_low(resize_like(low, high))
        return F.relu(low + self.conv_high(high)), low


class ICNet(Backbone):
    """RGB (N,3,H,W) -> four stages, finest first.

    Two at stride 8: the second fusion before the sum (second auxiliary head) and after it (the head). At stride 16 the
    first fusion before the sum (first auxiliary head), at stride 32 the pyramid of the deepest branch.

    Source: Zhao et al., "ICNet", arXiv 1704.08545; the sizes are those of OpenMMLab's weights.

    Args:
        resnet: A residual network of `variants` at stride 8; its first two stages see the image at half its size, the
            other two what they give at half of that.
        channels: Of the fused maps.
    """

    def __init__(self, *, resnet: str = "resnet18_v1c", channels: Count = 128) -> None:
        net: Any = create_variant(resnet, output_stride=8)
        _, middle, _, coarse = net.feature_info.channels()
        super().__init__([channels, channels, channels, 512], [8, 8, 16, 32])
        net["maxpool"] = nn.MaxPool2d(3, 2, 1, ceil_mode=True)
        self.resnet = net
        self.pools = nn.ModuleList(AdaptiveAveragePool(scale) for scale in SCALES)
        self.branches = nn.ModuleList(ConvNormAct(coarse, 512) for _ in SCALES)
        self.bottleneck = ConvNormAct(coarse + 512 * len(SCALES), 512, 3)
        self.conv_sub1 = nn.Sequential(
            ConvNormAct(3, 32, 3, stride=2), ConvNormAct(32, 32, 3, stride=2), ConvNormAct(32, 64, 3, stride=2)
        )
        self.conv_sub2 = ConvNormAct(middle, 256)
        self.conv_sub4 = ConvNormAct(512, 256)
        self.fuse_24 = CascadeFusion(256, 256, channels)
        self.fuse_12 = CascadeFusion(channels, 64, channels)
        initialize(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The stages of the cascade.

        Args:
            image: RGB (N,3,H,W), normalized.

        Returns:
            Four maps at strides 8, 8, 16 and 32.
        """
        resnet: Any = self.resnet
        x = _half(image)
        for name in ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2"):
            x = resnet[name](x)
        middle = self.conv_sub2(x)
        x = resnet["layer4"](resnet["layer3"](_half(x)))
        pooled = [resize_like(conv(pool(x)), x) for pool, conv in zip(self.pools, self.branches, strict=True)]
        context = self.bottleneck(torch.cat([*pooled, x], dim=1))
        both, middle = self.fuse_24(self.conv_sub4(context), middle)
        fused, fine = self.fuse_12(both, self.conv_sub1(image))
        return [fine, fused, middle, context]


def _half(maps: Tensor) -> Tensor:
    """Maps (N,C,h,w) -> (N,C,h//2,w//2), bilinear; an odd last row is left out, and one alone is doubled."""
    short = [max(0, 2 - side) for side in maps.shape[-2:]]
    maps = F.pad(maps, (0, short[1], 0, short[0]), mode="replicate")
    height, width = maps.shape[-2] // 2, maps.shape[-1] // 2
    return F.interpolate(maps[..., : 2 * height, : 2 * width], (height, width), mode="bilinear", align_corners=False)
