"""A network."""

from __future__ import annotations

from torch import nn


class LaneNet(nn.Sequential):
    """Three layers, the last of which scores the classes."""

    def __init__(self, num_classes: int = 2, width: int = 8) -> None:
        layers = [nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, num_classes, 1)]
        super().__init__(*layers)
