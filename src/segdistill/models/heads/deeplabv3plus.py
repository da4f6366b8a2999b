"""DeepLabV3+ head: separable atrous pyramid on the coarsest stage, refined with a fine stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdistill.core.numbers import Count
from segdistill.core.outputs import resize
from segdistill.models.heads import Head
from segdistill.models.layers import AdaptiveAveragePool, ConvNormAct, SeparableConv


class DeepLabV3Plus(Head):
    """Image pooling, a 1x1 and separable 3x3 branches at `dilations`; then a decoder on the stage `low_stage`.

    The embedding has that stage's stride.
    Source: Chen et al., "Encoder-decoder with atrous separable convolution", ECCV 2018.

    Args:
        stages: Channels of the backbone's features.
        channels: Of each branch and of the embedding.
        dilations: (12, 24, 36) suits output stride 8, (6, 12, 18) output stride 16.
        low_stage: Index of the fine stage (the stride-4 stage of timm backbones with five stages is 1).
        low_channels: What that stage is projected to.
    """

    def __init__(
        self,
        stages: Sequence[int],
        *,
        channels: Count = 512,
        dilations: tuple[Count, ...] = (6, 12, 18),
        low_stage: int = 1,
        low_channels: Count = 48,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.low_stage = low_stage
        self.pool = AdaptiveAveragePool(1)
        self.image_pool = ConvNormAct(stages[-1], channels)
        self.branches = nn.ModuleList([ConvNormAct(stages[-1], channels)])
        self.branches.extend(SeparableConv(stages[-1], channels, dilation=dilation) for dilation in dilations)
        self.bottleneck = ConvNormAct((2 + len(dilations)) * channels, channels, 3)
        self.low = ConvNormAct(stages[low_stage], low_channels)
        self.decoder = nn.Sequential(
            SeparableConv(channels + low_channels, channels), SeparableConv(channels, channels)
        )

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """The embedding, on the grid of `low_stage`.

        Args:
            features: Stages (N,C_i,h_i,w_i), finest first; the last and `low_stage` are read.

        Returns:
            (N,channels,h,w).
        """
        x, low = features[-1], features[self.low_stage]
        pooled = resize(self.image_pool(self.pool(x)), (x.shape[-2], x.shape[-1]))
        context = self.bottleneck(torch.cat([pooled, *(branch(x) for branch in self.branches)], dim=1))
        context = resize(context, (low.shape[-2], low.shape[-1]))
        embedding: Tensor = self.decoder(torch.cat([context, self.low(low)], dim=1))
        return embedding
