"""FCN head: one convolution or more on one backbone stage, or on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from segdistill.core.numbers import Count
from segdistill.models.heads import Head
from segdistill.models.layers import ConvNormAct, Resize, SeparableConv


class FCN(Head):
    """Convolution, batch normalization and ReLU, once or more, on one backbone stage, or on all of them.

    Source: Long et al., "Fully convolutional networks", CVPR 2015, in the one-convolution form of OpenMMLab's heads;
    Sun et al., "High-resolution representations", arXiv 1904.04514.

    Args:
        stages: Channels of the backbone's features.
        channels: Of the embedding; null for as many as come in.
        stage: Its index, negative ones count from the coarsest; "all": all stages, resized to the finest and
            concatenated, finest first (HRNet; the convolution is then 1x1 in published networks).
        kernel: Of the convolutions.
        convs: How many there are.
        separable: Whether they are depthwise 3x3 and then pointwise ones, without a ReLU in between (Fast-SCNN).
    """

    def __init__(
        self,
        stages: Sequence[int],
        *,
        channels: Count | None = 256,
        stage: int | Literal["all"] = -1,
        kernel: Literal[1, 3] = 3,
        convs: Count = 1,
        separable: bool = False,
    ) -> None:
        super().__init__()
        inputs = sum(stages) if stage == "all" else stages[stage]
        self.channels = inputs if channels is None else channels
        self.stage = stage
        self.resize = Resize()

        def conv(inputs: int) -> nn.Module:
            if separable:
                return SeparableConv(inputs, self.channels, depthwise_act=False)
            return ConvNormAct(inputs, self.channels, kernel)

        self.conv = conv(inputs)
        self.more = nn.Sequential(*(conv(self.channels) for _ in range(convs - 1)))

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """The embedding, on the grid of `stage`, or of the finest for "all".

        Args:
            features: Stages (N,C_i,h_i,w_i), finest first.

        Returns:
            (N,channels,h,w).
        """
        if self.stage == "all":
            size = (features[0].shape[-2], features[0].shape[-1])
            x = torch.cat([self.resize(feature, size) for feature in features], dim=1)
        else:
            x = features[self.stage]
        embedding: Tensor = self.more(self.conv(x))
        return embedding
