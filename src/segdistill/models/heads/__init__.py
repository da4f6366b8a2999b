"""Heads, one file each; `{name: [class]}` by `discovery.classes_in`."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Head(nn.Module, ABC):
    """A decoder; the classifier belongs to the segmenter.

    The first argument of every head is `stages`, the channel counts of the backbone's features, finest first; the
    others are its options.
    """

    channels: int
    """Width of the embedding."""

    @abstractmethod
    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """The embedding of images.

        Args:
            features: The backbone's (N,C,h,w), finest first.

        Returns:
            (N,`channels`,h,w) at the stride of one of them.
        """
