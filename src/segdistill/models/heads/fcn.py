"""FCN head: one 3x3 convolution on one backbone stage."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segdistill.constraints import Count
from segdistill.models.heads import Head
from segdistill.models.layers import ConvNormAct


class FCN(Head):
    """3x3 convolution, batch normalisation and ReLU on backbone stage `stage` (negative counts from the coarsest).

    Source: Long et al., "Fully convolutional networks", CVPR 2015, in the one-convolution form of OpenMMLab's
    auxiliary heads.
    """

    def __init__(self, stages: Sequence[int], *, channels: Count = 256, stage: int = -1) -> None:
        super().__init__()
        self.channels = channels
        self.stage = stage
        self.conv = ConvNormAct(stages[stage], channels, 3)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        embedding: Tensor = self.conv(features[self.stage])
        return embedding
