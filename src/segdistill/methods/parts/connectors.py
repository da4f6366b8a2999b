"""What methods on feature maps share: which map they read, and the connector to the teacher's width."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput

Source = Literal["embedding", "features"]
"""A decoder's embedding, or the last backbone stage."""


def maps_of(output: SegOutput, source: Source) -> Tensor:
    """The maps (N,C,h,w) that `source` names."""
    return output.embedding if source == "embedding" else output.features[-1]


def connector(student: Tensor, teacher: Tensor) -> nn.Module:
    """A learned 1x1 convolution without bias from student maps (N,C_s,h,w) to C_t channels; nothing if C_s = C_t."""
    channels = student.shape[1], teacher.shape[1]
    return nn.Identity() if channels[0] == channels[1] else Pointwise(*channels)


def identity_connector(student: Tensor, teacher: Tensor) -> Pointwise:
    """The same convolution where it is learned even if C_s = C_t, and then starts as the identity."""
    made = Pointwise(student.shape[1], teacher.shape[1])
    if student.shape[1] == teacher.shape[1]:
        nn.init.dirac_(made.weight)
    return made


class Pointwise(nn.Conv2d):
    """A 1x1 convolution of maps (N,C,h,w), made as one product of matrices: on one thread that is faster."""

    def __init__(self, channels: int, out: int, bias: bool = False) -> None:
        super().__init__(channels, out, 1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
