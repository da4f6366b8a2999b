"""ISANet head: interlaced sparse self-attention, first between blocks of the map, then within them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.numbers import Count
from segdistill.models.heads import Head
from segdistill.models.layers import ConvNormAct


class ISANet(Head):
    """3x3 convolution, then attention over positions `block` apart and attention inside blocks of `block` squared.

    With h, w padded by zeros on both sides to multiples of B = `block`: the long-range attention runs over the
    (h/B)(w/B) positions at the same row and column of their block, the short-range one over the B^2 positions of one
    block; padded positions take part as keys. Concatenated with its input and convolved 1x1.
    Source: Huang et al., "Interlaced sparse self-attention", arXiv 1907.12273, in OpenMMLab's form.

    Args:
        stages: Channels of the backbone's features.
        channels: Of the embedding and of values.
        attention_channels: Of keys and queries.
        block: B.
    """

    def __init__(
        self, stages: Sequence[int], *, channels: Count = 512, attention_channels: Count = 256, block: Count = 8
    ) -> None:
        super().__init__()
        self.channels = channels
        self.block = block
        self.input = ConvNormAct(stages[-1], channels, 3)
        self.long_range = SelfAttention(channels, attention_channels)
        self.short_range = SelfAttention(channels, attention_channels)
        self.output = ConvNormAct(2 * channels, channels)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """The embedding, on the last stage's grid.

        Args:
            features: Stages (N,C_i,h_i,w_i), finest first; the last is read.

        Returns:
            (N,channels,h,w).
        """
        x = self.input(features[-1])
        n, c, height, width = x.shape
        block = self.block
        rows, columns = (height + block - 1) // block, (width + block - 1) // block
        missing_h, missing_w = rows * block - height, columns * block - width
        top, left = missing_h // 2, missing_w // 2
        y = F.pad(x, (left, missing_w - left, top, missing_h - top))
        # (n, block row, block column, c, row, column): one map of far-apart positions for each position in a block
        y = y.view(n, c, rows, block, columns, block).permute(0, 3, 5, 1, 2, 4)
        y = self.long_range(y.reshape(-1, c, rows, columns))
        # (n, row, column, c, block row, block column): one small map for each block
        y = y.view(n, block, block, c, rows, columns).permute(0, 4, 5, 3, 1, 2)
        y = self.short_range(y.reshape(-1, c, block, block))
        y = y.view(n, rows, columns, c, block, block).permute(0, 3, 1, 4, 2, 5)
        y = y.reshape(n, c, rows * block, columns * block)[..., top : top + height, left : left + width]
        embedding: Tensor = self.output(torch.cat([y, x], dim=1))
        return embedding


class SelfAttention(nn.Module):
    """softmax(q k^T / sqrt(d)) v over all positions of a map (N,C,h,w).

    Args:
        channels: C.
        inner: d, the channels of keys and queries.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.key = nn.Sequential(ConvNormAct(channels, inner), ConvNormAct(inner, inner))
        self.query = nn.Sequential(ConvNormAct(channels, inner), ConvNormAct(inner, inner))
        self.value = nn.Conv2d(channels, channels, 1)
        self.project = ConvNormAct(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """What each position takes from all of its map.

        Args:
            x: Maps (N,C,h,w), each by itself.

        Returns:
            (N,C,h,w), not negative.
        """
        # One head, (N,1,h*w,d): ONNX exporters take attention of four dimensions only.
        query, key, value = (layer(x).flatten(2).mT[:, None] for layer in (self.query, self.key, self.value))
        y = F.scaled_dot_product_attention(query, key, value)[:, 0]
        projected: Tensor = self.project(y.mT.reshape(x.shape))
        return projected
