"""SegFormer head: every stage projected to one width, brought to the finest stage and fused."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdistill.core.numbers import Count
from segdistill.models.heads import Head
from segdistill.models.layers import BatchNorm, ConvNormAct, Resize


class SegFormer(Head):
    """1x1 projections of all stages, resized to the first, concatenated, 1x1 fused with batch norm and ReLU.

    Source: Xie et al., "SegFormer", NeurIPS 2021.

    Args:
        stages: Channels of the backbone's features.
        channels: Of projections and embedding. OpenMMLab has 256; the paper 256 for B0 and B1, 768 above.
        normed: Projections have batch norm and ReLU and are concatenated finest first (OpenMMLab); else they are plain
            linear maps with a bias, coarsest first (NVlabs, CIRKD, Hugging Face).
        fusion_bias: Whether the fusing convolution has a bias (CIRKD).
    """

    def __init__(
        self, stages: Sequence[int], *, channels: Count = 256, normed: bool = True, fusion_bias: bool = False
    ) -> None:
        super().__init__()
        self.channels = channels
        self.normed = normed
        self.resize = Resize()
        self.projections = nn.ModuleList(
            ConvNormAct(stage, channels) if normed else nn.Conv2d(stage, channels, 1) for stage in stages
        )
        self.fusion = nn.Sequential(
            nn.Conv2d(len(stages) * channels, channels, 1, bias=fusion_bias), BatchNorm(channels), nn.ReLU(inplace=True)
        )

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """The embedding, on the first stage's grid.

        Args:
            features: Stages (N,C_i,h_i,w_i), finest first; all are read.

        Returns:
            (N,channels,h,w).
        """
        size = (features[0].shape[-2], features[0].shape[-1])
        maps = [self.resize(project(x), size) for project, x in zip(self.projections, features, strict=True)]
        embedding: Tensor = self.fusion(torch.cat(maps if self.normed else maps[::-1], dim=1))
        return embedding
