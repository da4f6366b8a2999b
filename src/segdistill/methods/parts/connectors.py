"""What methods on feature maps share: which map they read, and the connector to the teacher's width."""

from __future__ import annotations

from typing import Literal

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
    return nn.Identity() if channels[0] == channels[1] else nn.Conv2d(*channels, 1, bias=False)


def identity_connector(student: Tensor, teacher: Tensor) -> nn.Conv2d:
    """The same convolution where it is learned even if C_s = C_t, and then starts as the identity."""
    made = nn.Conv2d(student.shape[1], teacher.shape[1], 1, bias=False)
    if student.shape[1] == teacher.shape[1]:
        nn.init.dirac_(made.weight)
    return made
