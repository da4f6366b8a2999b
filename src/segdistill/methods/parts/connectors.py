"""What methods on feature maps share: which map they read, and the connector to the teacher's width."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from segdistill.core.outputs import SegOutput

Source = Literal["embedding", "features"]
"""A decoder's embedding, or the last backbone stage."""


def maps_of(output: SegOutput, source: Source) -> Tensor:
    """The maps that a method reads.

    Args:
        output: of a network.
        source: which of them.

    Returns:
        (N,C,h,w).
    """
    return output.embedding if source == "embedding" else output.features[-1]


def connector(student: Tensor, teacher: Tensor) -> nn.Module:
    """What brings student maps to the teacher's channels: a learned 1x1 convolution without bias, nothing if they are
    as many.

    Args:
        student: maps (N,C_s,h,w); only the shape counts.
        teacher: maps (N,C_t,h,w).

    Returns:
        A module (N,C_s,h,w) -> (N,C_t,h,w).
    """
    channels = student.shape[1], teacher.shape[1]
    return nn.Identity() if channels[0] == channels[1] else nn.Conv2d(*channels, 1, bias=False)


def identity_connector(student: Tensor, teacher: Tensor) -> nn.Conv2d:
    """A learned 1x1 convolution without bias, there even if C_s = C_t, where it starts as the identity.

    Args:
        student: maps (N,C_s,h,w); only the shape counts.
        teacher: maps (N,C_t,h,w).

    Returns:
        A module (N,C_s,h,w) -> (N,C_t,h,w).
    """
    made = nn.Conv2d(student.shape[1], teacher.shape[1], 1, bias=False)
    if student.shape[1] == teacher.shape[1]:
        nn.init.dirac_(made.weight)
    return made
