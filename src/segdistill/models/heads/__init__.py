"""Heads, one file each; `{name: [class]}` by `discovery.classes_in`."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Head(nn.Module, ABC):
    """A decoder. `forward(features)` -> embedding (N, `channels`, h, w); the classifier belongs to the segmenter.

    The first argument of every head is `stages`, the channel counts of the backbone's features, finest first.
    """

    channels: int

    @abstractmethod
    def forward(self, features: tuple[Tensor, ...]) -> Tensor: ...
