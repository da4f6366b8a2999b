"""A network that is traced and exported in a moment."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from segdistill.core.classes import Classes
from segdistill.core.outputs import SegOutput
from segdistill.models.loaded import LoadedModel
from segdistill.models.network import SegmentationNetwork


class Patches(SegmentationNetwork):
    """The strongest channel of 2x2 pixels, or none.

    Args:
        width: Further channels, which make its file larger.
    """

    def __init__(self, width: int = 0) -> None:
        super().__init__(num_classes=4, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
        self.conv = nn.Conv2d(3, 3 + width, 2, stride=2)
        self.classifier = nn.Conv2d(3 + width, 4, 1)
        nn.init.dirac_(self.conv.weight)
        nn.init.dirac_(self.classifier.weight)

    def forward(self, image: Tensor) -> SegOutput:
        embedding = self.conv(self.normalize(image)).relu()
        return SegOutput(self.classifier(embedding), embedding, ())


def patches(*names: str, width: int = 0) -> LoadedModel:
    """The network with names for its classes."""
    torch.manual_seed(1)
    colors = ((200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 90))
    return LoadedModel(Patches(width).eval(), Classes(names, colors), Path("patches"))
