"""PSPNet head: pyramid pooling over the coarsest backbone stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdistill.core.numbers import Count
from segdistill.core.outputs import resize
from segdistill.models.heads import Head
from segdistill.models.layers import AdaptiveAveragePool, ConvNormAct


class PSPNet(Head):
    """Pool the last stage to each of `scales` squared, 1x1 convolve, resize back, concatenate, 3x3 convolve.

    Concatenation order: input, then scales. Source: Zhao et al., "Pyramid scene parsing network", CVPR 2017.

    Args:
        stages: Channels of the backbone's features.
        channels: Of the embedding.
        scales: Sides of the pooled maps.
        branch_channels: Of each scale, null for `channels`.
        align_corners: Of the resize back (CIRKD; OpenMMLab's 769x769 files).
    """

    def __init__(
        self,
        stages: Sequence[int],
        *,
        channels: Count = 512,
        scales: tuple[Count, ...] = (1, 2, 3, 6),
        branch_channels: Count | None = None,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.pools = nn.ModuleList(AdaptiveAveragePool(scale) for scale in scales)
        self.align_corners = align_corners
        width = channels if branch_channels is None else branch_channels
        self.branches = nn.ModuleList(ConvNormAct(stages[-1], width) for _ in scales)
        self.bottleneck = ConvNormAct(stages[-1] + len(scales) * width, channels, 3)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """The embedding, on the last stage's grid.

        Args:
            features: Stages (N,C_i,h_i,w_i), finest first; the last is read.

        Returns:
            (N,channels,h,w).
        """
        x = features[-1]
        size = (x.shape[-2], x.shape[-1])
        pooled = (
            resize(branch(pool(x)), size, align_corners=self.align_corners)
            for pool, branch in zip(self.pools, self.branches, strict=True)
        )
        embedding: Tensor = self.bottleneck(torch.cat([x, *pooled], dim=1))
        return embedding
