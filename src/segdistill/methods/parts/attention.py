"""CBAM: maps times a learned weight per channel, times one per position."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_REDUCTION = 16


class Attention(nn.Module):
    """Maps times a weight in (0,1) per channel, times one per position.

    a = sigmoid(f(mean of the maps over positions) + f(maximum over positions)), f a network of two layers
    b = sigmoid(conv7x7(mean and maximum of a * maps over channels))
    The result is a * b * maps. Of equal maxima one gets the gradient. Source: Woo et al., arXiv 1807.06521.

    Args:
        channels: of the maps; f has a sixteenth of them between its layers.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // _REDUCTION)
        self.channel = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.position = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, maps: Tensor, valid: Tensor) -> Tensor:
        """Refined maps.

        Args:
            maps: (N,C,h,w).
            valid: bool (N,1,h,w); other positions are in no mean or maximum over positions, and are 0 to the
                convolution.

        Returns:
            (N,C,h,w), 0 where not `valid`.
        """
        keep = valid.to(maps.dtype)
        mean, largest = _over_positions(maps, keep)
        by_channel = torch.sigmoid(self.channel(mean) + self.channel(largest))
        weighted = maps * by_channel[..., None, None]
        over_channels = torch.cat([weighted.mean(1, keepdim=True), weighted.max(1, keepdim=True).values], 1)
        refined: Tensor = weighted * (torch.sigmoid(self.position(over_channels * keep)) * keep)
        return refined


def _over_positions(maps: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and maximum (N,C) of maps (N,C,h,w) over the positions where `keep` (N,1,h,w) is 1; 0 if there is none."""
    count = keep.sum((2, 3))
    mean = (maps * keep).sum((2, 3)) / count.clamp_min(1)
    largest = (maps + keep.log()).flatten(2).max(2).values
    return mean, torch.where(count > 0, largest, 0.0)
