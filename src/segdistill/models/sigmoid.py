"""Networks of one sigmoid score: two classes, one against the rest, exactly."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def two_classes(score: Tensor) -> Tensor:
    """A sigmoid score z (N,1,h,w) as logits (N,2,h,w) of two classes: (0, z).

    softmax(0, z) = (1 - sigmoid(z), sigmoid(z)), cross-entropy is binary cross-entropy, the larger logit is the second
    one where sigmoid(z) > 0.5, and resizing the logits bilinearly resizes z.

    Args:
        score: z (N,1,h,w).

    Returns:
        Logits (N,2,h,w).
    """
    return torch.cat([torch.zeros_like(score), score], 1)


class SigmoidClassifier(nn.Conv2d):
    """A 1x1 convolution to one sigmoid score, given as the logits of two classes.

    Args:
        channels: Of its input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1, 1)

    def forward(self, input: Tensor) -> Tensor:
        """The logits of both classes.

        Args:
            input: Maps (N,channels,h,w).

        Returns:
            (N,2,h,w): 0, and the score z.
        """
        return two_classes(super().forward(input))


def make_classifier(channels: int, num_classes: int, *, sigmoid: bool) -> nn.Conv2d:
    """A 1x1 convolution from maps to logits, or to the two of one sigmoid score.

    Args:
        channels: Of the maps.
        num_classes: K.
        sigmoid: Whether one score makes the two classes.

    Returns:
        The classifier (N,C,h,w) -> (N,K,h,w).
    """
    return SigmoidClassifier(channels) if sigmoid else nn.Conv2d(channels, num_classes, 1)


def same_scores(num_classes: int, channels: int | None) -> bool:
    """Whether a network scores classes as it is: one channel is two classes.

    Args:
        num_classes: K.
        channels: Of its scores, None if nothing says.
    """
    return num_classes == channels or (channels == 1 and num_classes <= 2)
