"""The head of DDRNet and PIDNet: a norm, a ReLU and a convolution, and a norm and a ReLU after it."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from segdistill.core.numbers import Count
from segdistill.models.heads import Head
from segdistill.models.layers import BatchNorm, NormActConv


class Preactivated(Head):
    """relu(norm(conv(relu(norm(x))))) of one backbone stage x, the convolution 3x3.

    Source: Hong et al., arXiv 2101.06085; Xu et al., arXiv 2206.02066.

    Args:
        stages: Channels of the backbone's features.
        channels: Of the embedding.
        stage: Its index, negative ones count from the coarsest.
    """

    def __init__(self, stages: Sequence[int], *, channels: Count = 128, stage: int = -1) -> None:
        super().__init__()
        self.channels = channels
        self.stage = stage
        self.conv = NormActConv(stages[stage], channels, 3)
        self.norm = BatchNorm(channels)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """The embedding, on the grid of `stage`.

        Args:
            features: Stages (N,C_i,h_i,w_i), finest first.

        Returns:
            (N,channels,h,w).
        """
        return F.relu(self.norm(self.conv(features[self.stage])))
