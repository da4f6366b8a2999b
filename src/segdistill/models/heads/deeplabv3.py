"""DeepLabV3 head: atrous spatial pyramid on the coarsest stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdistill.core.numbers import Count
from segdistill.core.outputs import resize
from segdistill.models.heads import Head
from segdistill.models.layers import AdaptiveAveragePool, ConvNormAct


class DeepLabV3(Head):
    """Image pooling, a 1x1 branch and 3x3 branches at `dilations`, concatenated and convolved 3x3.

    Source: Chen et al., "Rethinking atrous convolution", arXiv 1706.05587.

    Args:
        stages: Channels of the backbone's features.
        channels: Of each branch and of the embedding.
        dilations: (12, 24, 36) suits output stride 8, (6, 12, 18) output stride 16.
        project: As in CIRKD, branches come first and image pooling last, and a 1x1 convolution with dropout precedes
            the 3x3 one; else image pooling comes first.
        project_dropout: The share that this dropout drops.
    """

    def __init__(
        self,
        stages: Sequence[int],
        *,
        channels: Count = 512,
        dilations: tuple[Count, ...] = (12, 24, 36),
        project: bool = False,
        project_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.pool = AdaptiveAveragePool(1)
        self.image_pool = ConvNormAct(stages[-1], channels)
        self.branches = nn.ModuleList([ConvNormAct(stages[-1], channels)])
        self.branches.extend(ConvNormAct(stages[-1], channels, 3, dilation=dilation) for dilation in dilations)
        width = (2 + len(dilations)) * channels
        self.project = nn.Sequential(*ConvNormAct(width, channels), nn.Dropout(project_dropout)) if project else None
        self.bottleneck = ConvNormAct(channels if project else width, channels, 3)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """The embedding, on the last stage's grid.

        Args:
            features: Stages (N,C_i,h_i,w_i), finest first; the last is read.

        Returns:
            (N,channels,h,w).
        """
        x = features[-1]
        pooled = resize(self.image_pool(self.pool(x)), (x.shape[-2], x.shape[-1]))
        maps = [branch(x) for branch in self.branches]
        if self.project is None:
            embedding: Tensor = self.bottleneck(torch.cat([pooled, *maps], dim=1))
        else:
            embedding = self.bottleneck(self.project(torch.cat([*maps, pooled], dim=1)))
        return embedding
