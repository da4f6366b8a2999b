"""PIDNet: three branches, for detail, context and boundaries."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.numbers import Count
from segdistill.models.families.base import Backbone, initialize
from segdistill.models.families.residual import (
    FINE,
    BasicBlock,
    PyramidPooling,
    basic_layer,
    bottleneck_layer,
    stem,
)
from segdistill.models.layers import ConvNormAct, NormActConv, resize_like


class PixelAttention(nn.Module):
    """Pag: s i + (1 - s) p with s = sigmoid(sum_c f_p(p)_c up(f_i(i))_c), for p (N,C,H,W) and i, upsampled to it.

    Args:
        inputs: C.
        channels: That f_p and f_i make of them.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.f_i = ConvNormAct(inputs, channels, act=False)
        self.f_p = ConvNormAct(inputs, channels, act=False)

    def forward(self, p: Tensor, i: Tensor) -> Tensor:
        """The detail with context where both agree.

        Args:
            p: Of the detail branch, (N,C,H,W).
            i: Of the context branch, (N,C,h,w), coarser.

        Returns:
            (N,C,H,W).
        """
        similarity = (self.f_p(p) * resize_like(self.f_i(i), p)).sum(1, keepdim=True)
        share = torch.sigmoid(similarity)
        return share * resize_like(i, p) + (1 - share) * p


class Bag(nn.Module):
    """Boundary-attention fusion: conv(s p + (1 - s) i) with s = sigmoid(d).

    Args:
        channels: Of p, i, d and the result.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = NormActConv(channels, channels, 3)

    def forward(self, p: Tensor, i: Tensor, d: Tensor) -> Tensor:
        """The three branches fused: detail near boundaries, context elsewhere.

        Args:
            p: Detail (N,C,h,w).
            i: Context (N,C,h,w), on the same grid.
            d: Boundaries (N,C,h,w), before the sigmoid.

        Returns:
            (N,C,h,w).
        """
        share = torch.sigmoid(d)
        y: Tensor = self.conv(share * p + (1 - share) * i)
        return y


class LightBag(nn.Module):
    """The light form of `Bag`: f_p((1 - s) i + p) + f_i(i + s p).

    Args:
        channels: Of p, i, d and the result.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.f_p = ConvNormAct(channels, channels, act=False)
        self.f_i = ConvNormAct(channels, channels, act=False)

    def forward(self, p: Tensor, i: Tensor, d: Tensor) -> Tensor:
        """The three branches fused: detail near boundaries, context elsewhere.

        Args:
            p: Detail (N,C,h,w).
            i: Context (N,C,h,w), on the same grid.
            d: Boundaries (N,C,h,w), before the sigmoid.

        Returns:
            (N,C,h,w).
        """
        share = torch.sigmoid(d)
        y: Tensor = self.f_p((1 - share) * i + p) + self.f_i(i + share * p)
        return y


class PIDNet(Backbone):
    """RGB (N,3,H,W) -> maps at strides 4, 8, 8, 8 and 64, finest first.

    The P branch keeps detail at stride 8, the I branch goes down to stride 64, the D branch finds boundaries at stride
    8. The stages: the stem, the P branch (which the auxiliary head reads), the D branch (the boundary head), what the
    three give together (the head), and the context.

    Source: Xu et al., "PIDNet", arXiv 2206.02066.

    Args:
        channels: Of the stem.
        context_channels: Width of the pyramid pooling.
        stem_blocks: Blocks a stage of the stem and of the P branch; with 3 the boundary branch and the fusion are the
            wide ones of PIDNet-L.
        branch_blocks: Blocks a stage of the I branch.
    """

    def __init__(
        self,
        *,
        channels: Count = 32,
        context_channels: Count = 96,
        stem_blocks: Count = 2,
        branch_blocks: Count = 3,
    ) -> None:
        c, light = channels, stem_blocks < 3
        d = c if light else 2 * c
        super().__init__([c, 2 * c, 2 * c, 4 * c, 4 * c], [4, 8, 8, 8, 64])
        self.stem = stem(c, stem_blocks)
        self.i_branch = nn.ModuleList(
            [
                basic_layer(2 * c, 4 * c, branch_blocks, stride=2),
                basic_layer(4 * c, 8 * c, branch_blocks, stride=2),
                bottleneck_layer(8 * c, 8 * c, 2, stride=2),
            ]
        )
        self.p_branch = nn.ModuleList(
            [
                basic_layer(2 * c, 2 * c, stem_blocks),
                basic_layer(2 * c, 2 * c, stem_blocks),
                bottleneck_layer(2 * c, 2 * c, 1),
            ]
        )
        self.d_branch = nn.ModuleList(
            [
                BasicBlock(2 * c, d, act=False),
                bottleneck_layer(c, c, 1) if light else BasicBlock(2 * c, 2 * c, act=False),
                bottleneck_layer(2 * c, 2 * c, 1),
            ]
        )
        self.compression_1 = ConvNormAct(4 * c, 2 * c, act=False)
        self.compression_2 = ConvNormAct(8 * c, 2 * c, act=False)
        self.pag_1, self.pag_2 = PixelAttention(2 * c, c), PixelAttention(2 * c, c)
        self.diff_1 = ConvNormAct(4 * c, d, 3, act=False)
        self.diff_2 = ConvNormAct(8 * c, 2 * c, 3, act=False)
        self.spp = PyramidPooling(16 * c, context_channels, 4 * c, parallel=light)
        self.dfm: nn.Module = LightBag(4 * c) if light else Bag(4 * c)
        initialize(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The stages of the three branches.

        Args:
            image: RGB (N,3,H,W), normalized.

        Returns:
            Five maps at strides 4, 8, 8, 8 and 64.
        """
        fine = self.stem[:FINE](image)
        x = self.stem[FINE:](fine)
        i, p, d = F.relu(self.i_branch[0](x)), self.p_branch[0](x), self.d_branch[0](x)
        p = first_p = self.pag_1(p, self.compression_1(i))
        d = d + resize_like(self.diff_1(i), d)
        i, p, d = F.relu(self.i_branch[1](i)), self.p_branch[1](F.relu(p)), self.d_branch[1](F.relu(d))
        p = self.pag_2(p, self.compression_2(i))
        d = second_d = d + resize_like(self.diff_2(i), d)
        p, d = self.p_branch[2](F.relu(p)), self.d_branch[2](F.relu(d))
        context = self.spp(self.i_branch[2](i))
        return [fine, first_p, second_d, self.dfm(p, resize_like(context, p), d), context]
