"""BiSeNet: a shallow path for detail beside a residual network for context."""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn

from segdistill.core.numbers import Count
from segdistill.models.families.attention import AttentionRefinement, GlobalAttention, bring_up
from segdistill.models.families.base import Backbone, initialize
from segdistill.models.layers import ConvNormAct


class BiSeNetV1(Backbone):
    """RGB (N,3,H,W) -> four stages, finest first.

    Two at stride 8: the context that the first auxiliary head reads, and what both paths give together, which the
    head reads. At stride 16 the context that the second auxiliary head reads, at stride 32 the residual network's last
    stage.

    Source: Yu et al., "BiSeNet: bilateral segmentation network", arXiv 1808.00897.

    Args:
        resnet: timm's name of the residual network.
        spatial_channels: Of the first three layers of the spatial path; the last has as many as the context.
        context_channels: Of the context path.
    """

    def __init__(
        self, *, resnet: str = "resnet18", spatial_channels: Count = 64, context_channels: Count = 128
    ) -> None:
        context = timm.create_model(resnet, features_only=True, out_indices=(2, 3, 4))
        _, middle, coarse = context.feature_info.channels()
        wide, narrow = context_channels, spatial_channels
        super().__init__([wide, 2 * wide, wide, coarse], [8, 8, 16, 32])
        self.context = context
        self.arm16, self.arm32 = AttentionRefinement(middle, wide), AttentionRefinement(coarse, wide)
        self.conv_head16, self.conv_head32 = ConvNormAct(wide, wide, 3), ConvNormAct(wide, wide, 3)
        self.gap_conv = ConvNormAct(coarse, wide)
        self.spatial = nn.Sequential(
            ConvNormAct(3, narrow, 7, stride=2),
            ConvNormAct(narrow, narrow, 3, stride=2),
            ConvNormAct(narrow, narrow, 3, stride=2),
            ConvNormAct(narrow, wide),
        )
        self.ffm = Fusion(2 * wide)
        initialize(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The stages of both paths.

        Args:
            image: RGB (N,3,H,W), normalized.

        Returns:
            Four maps at strides 8, 8, 16 and 32.
        """
        fine, middle, coarse = self.context(image)
        x = self.arm32(coarse) + self.gap_conv(coarse.mean((-2, -1), keepdim=True))
        context16 = self.conv_head32(bring_up(x, middle))
        context8 = self.conv_head16(bring_up(self.arm16(middle) + context16, fine))
        return [context8, self.ffm(torch.cat([self.spatial(image), context8], dim=1)), context16, coarse]


class Fusion(nn.Module):
    """x + x a with x a 1x1 convolution of what comes in and a = sigmoid(relu(norm(conv(mean(x))))), one a channel.

    Args:
        channels: Of what comes in and goes out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(channels, channels)
        self.attention = GlobalAttention(ConvNormAct(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Both paths fused.

        Args:
            x: Their maps, concatenated, (N,C,h,w).

        Returns:
            (N,C,h,w).
        """
        x = self.conv1(x)
        y: Tensor = x + x * self.attention(x)
        return y
