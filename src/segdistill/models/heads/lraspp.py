"""LR-ASPP head: attention from large averages, then two finer stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.numbers import Count, Positive
from segdistill.models.heads import Head
from segdistill.models.layers import BatchNorm, ConvNormAct, resize_like


class LRASPP(Head):
    """conv(x) up(sigmoid(W pool(x))) of the last stage x, then with each finer stage f: conv(concat(up(x), W f)).

    pool averages windows, the whole map where it is smaller. Source: Howard et al., "Searching for MobileNetV3", ICCV
    2019, in the form of OpenMMLab's weights.

    Args:
        stages: Channels of the backbone's features.
        channels: Of the embedding.
        finer: Indices of the finer stages, finest first.
        branch_channels: What each of them is brought to.
        window: Side of the averaged windows.
        strides: Of the windows, down and across.
        norm_eps: Epsilon of the batch norms.
    """

    def __init__(
        self,
        stages: Sequence[int],
        *,
        channels: Count = 128,
        finer: tuple[int, int] = (0, 1),
        branch_channels: tuple[Count, Count] = (32, 64),
        window: Count = 49,
        strides: tuple[Count, Count] = (16, 20),
        norm_eps: Positive = 1e-3,
    ) -> None:
        super().__init__()
        self.channels, self.finer, self.window, self.strides = channels, finer, window, strides
        self.conv = ConvNormAct(stages[-1], channels)
        self.attention = nn.Conv2d(stages[-1], channels, 1, bias=False)
        self.input = nn.Conv2d(channels, channels, 1)
        self.branches = nn.ModuleList(
            nn.Conv2d(stages[stage], width, 1, bias=False) for stage, width in zip(finer, branch_channels, strict=True)
        )
        self.fusions = nn.ModuleList(ConvNormAct(channels + width, channels) for width in branch_channels)
        for module in self.modules():
            if isinstance(module, BatchNorm):
                module.eps = norm_eps

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """The embedding, on the grid of the finest of the `finer` stages.

        Args:
            features: Stages (N,C_i,h_i,w_i), finest first; the last and the `finer` ones are read.

        Returns:
            (N,channels,h,w).
        """
        x = features[-1]
        attention = torch.sigmoid(self.attention(_window_means(x, self.window, self.strides)))
        x = self.conv(x)
        x = self.input(x * resize_like(attention, x))
        for stage, branch, fusion in reversed(list(zip(self.finer, self.branches, self.fusions, strict=True))):
            feature = features[stage]
            x = fusion(torch.cat([resize_like(x, feature), branch(feature)], dim=1))
        embedding: Tensor = x
        return embedding


def _window_means(x: Tensor, side: int, strides: tuple[int, int]) -> Tensor:
    """The means of windows of `side` rows and columns of maps (N,C,h,w); of whole rows or columns if there are fewer.

    An export must not compare sizes, which would freeze the window that its example has. There, maps are brought to the
    window's size with zeros, and the means divided by the share of each window that is inside.
    """
    if not torch.compiler.is_exporting():
        return F.avg_pool2d(x, [min(side, each) for each in x.shape[-2:]], strides)
    missing: list[Any] = [torch.sym_max(side - each, 0) for each in x.shape[-2:]]  # ints, or symbols of them
    sums, inside = (
        F.avg_pool2d(F.pad(each, (0, missing[1], 0, missing[0])), side, strides)
        for each in (x, torch.ones_like(x[:1, :1]))
    )
    return sums / inside
