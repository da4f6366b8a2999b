"""DDRNet: two branches, one of which stays at stride 8."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.numbers import Count
from segdistill.models.families.base import Backbone, initialize
from segdistill.models.families.residual import FINE, PyramidPooling, basic_layer, bottleneck_layer, stem
from segdistill.models.layers import ConvNormAct, resize_like


class DDRNet(Backbone):
    """RGB (N,3,H,W) -> maps of `channels` at stride 4, 2 and 4 times as many at stride 8, and the context at stride 64.

    A context branch goes down to stride 64, a spatial branch stays at stride 8, and they exchange sums twice.
    The second stage is the spatial branch after the first exchange, which the auxiliary head reads; the third is the
    spatial branch plus the upsampled context, which the head reads.

    Source: Hong et al., "Deep dual-resolution networks", arXiv 2101.06085.

    Args:
        channels: Of the stem: 32 for DDRNet-23-slim, 64 for DDRNet-23.
        context_channels: Width of the pyramid pooling.
    """

    def __init__(self, *, channels: Count = 32, context_channels: Count = 128) -> None:
        c = channels
        super().__init__([c, 2 * c, 4 * c, 4 * c], [4, 8, 8, 64])
        self.stem = stem(c, 2)
        self.context = nn.ModuleList(
            [
                basic_layer(2 * c, 4 * c, 2, stride=2),
                basic_layer(4 * c, 8 * c, 2, stride=2),
                bottleneck_layer(8 * c, 8 * c, 1, stride=2),
            ]
        )
        self.spatial = nn.ModuleList(
            [basic_layer(2 * c, 2 * c, 2), basic_layer(2 * c, 2 * c, 2), bottleneck_layer(2 * c, 2 * c, 1)]
        )
        self.compression_1 = ConvNormAct(4 * c, 2 * c, act=False)
        self.down_1 = ConvNormAct(2 * c, 4 * c, 3, stride=2, act=False)
        self.compression_2 = ConvNormAct(8 * c, 2 * c, act=False)
        self.down_2 = nn.Sequential(
            ConvNormAct(2 * c, 4 * c, 3, stride=2), ConvNormAct(4 * c, 8 * c, 3, stride=2, act=False)
        )
        self.spp = PyramidPooling(16 * c, context_channels, 4 * c)
        initialize(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The stages of both branches.

        Args:
            image: RGB (N,3,H,W), normalized.

        Returns:
            Four maps at strides 4, 8, 8 and 64.
        """
        fine = self.stem[:FINE](image)
        x = self.stem[FINE:](fine)
        context, spatial = self.context[0](x), self.spatial[0](x)
        # Each branch gives what it had before the exchange.
        down = self.down_1(F.relu(spatial))
        first = spatial + resize_like(self.compression_1(F.relu(context)), spatial)
        context = context + down
        context, spatial = self.context[1](F.relu(context)), self.spatial[1](F.relu(first))
        down = self.down_2(F.relu(spatial))
        spatial = spatial + resize_like(self.compression_2(F.relu(context)), spatial)
        context = context + down
        context, spatial = self.spp(self.context[2](F.relu(context))), self.spatial[2](F.relu(spatial))
        return [fine, first, spatial + resize_like(context, spatial), context]
