"""UPerNet head: pyramid pooling on top of a feature pyramid of all stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdistill.core.numbers import Count
from segdistill.models.heads import Head
from segdistill.models.heads.pspnet import PSPNet
from segdistill.models.layers import ConvNormAct, resize_like


class UPerNet(Head):
    """Lateral 1x1 convolutions, the coarsest stage's by pyramid pooling, summed from coarse to fine; 3x3 on each sum.

    All are resized to the finest, concatenated and 3x3 convolved. Source: Xiao et al., "Unified perceptual parsing",
    ECCV 2018.

    Args:
        stages: Channels of the backbone's features.
        channels: Of every map and of the embedding.
        scales: Sides of the pooled maps.
    """

    def __init__(
        self, stages: Sequence[int], *, channels: Count = 512, scales: tuple[Count, ...] = (1, 2, 3, 6)
    ) -> None:
        super().__init__()
        self.channels = channels
        self.pyramid = PSPNet(stages, channels=channels, scales=scales)
        self.laterals = nn.ModuleList(ConvNormAct(inputs, channels) for inputs in stages[:-1])
        self.smooth = nn.ModuleList(ConvNormAct(channels, channels, 3) for _ in self.laterals)
        self.bottleneck = ConvNormAct(channels * len(stages), channels, 3)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """The embedding, on the first stage's grid.

        Args:
            features: Stages (N,C_i,h_i,w_i), finest first; all are read.

        Returns:
            (N,channels,h,w).
        """
        sums = [self.pyramid(features)]  # coarse to fine
        for lateral, feature in zip(reversed(self.laterals), features[-2::-1], strict=True):
            x = lateral(feature)
            sums.append(x + resize_like(sums[-1], x))
        smooth = [conv(x) for conv, x in zip(self.smooth, sums[:0:-1], strict=True)]
        maps = [resize_like(x, sums[-1]) for x in (*smooth, sums[0])]
        embedding: Tensor = self.bottleneck(torch.cat(maps, dim=1))
        return embedding
