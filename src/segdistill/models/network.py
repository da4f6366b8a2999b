"""What every network is to the rest of the library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from segdistill.core.classes import Classes
from segdistill.core.outputs import SegOutput

Part = Literal["backbone", "head", "auxiliary"]


class SegmentationNetwork(nn.Module, ABC):
    """What every network is to the rest of the library: RGB images in [0,1], N,3,H,W of any size -> `SegOutput`.

    mean, std: the normalisation of RGB in [0,1] that the network's weights expect, and bgr: whether they expect the
    channels the other way round; part of the network, so a teacher and a student with different ones see the same
    batch.
    """

    mean: Tensor
    std: Tensor
    classes: Classes | None = None
    """Names and colors of the classes, once the network has been trained on some."""
    keeps_tensors: bool = False
    """Whether a forward pass leaves tensors behind for later ones, as cached position embeddings."""

    def __init__(self, *, num_classes: int, mean: Sequence[float], std: Sequence[float], bgr: bool = False) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.bgr = bgr
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, image: Tensor) -> Tensor:
        """RGB in [0,1] -> what the backbone expects."""
        pixels = (image - self.mean) / self.std
        return pixels.flip(1) if self.bgr else pixels

    def part_of(self, parameter: str) -> Part:
        """Which part the parameter of that name belongs to.

        The optimiser trains the backbone at a rate of its own, and the auxiliary head costs nothing at inference.
        """
        first = parameter.partition(".")[0].partition("_")[0]
        return next((part for part in get_args(Part) if part == first), "head")

    @abstractmethod
    def forward(self, image: Tensor) -> SegOutput: ...


def as_input(image: Tensor) -> Tensor:
    """uint8 (N,3,H,W) -> float32 in [0,1], in the memory layout that convolutions like best."""
    return (image.float() / 255).contiguous(memory_format=torch.channels_last)
