"""CBAM: maps times a learned weight per channel, times one per position; with gradients in few passes over memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_REDUCTION = 16


class Attention(nn.Module):
    """Maps (N,C,h,w) times a weight in (0,1) per channel, times one per position.

    a = sigmoid(f(mean of the maps over positions) + f(maximum over positions)), f a network of two layers
    b = sigmoid(conv7x7(mean and maximum of a * maps over channels))
    The result is a * b * maps, 0 where `valid`, bool (N,1,h,w), is False; these positions are in no mean or maximum
    over positions, and are 0 to the convolution. Of equal maxima one gets the gradient. Source: Woo et al.,
    arXiv 1807.06521.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // _REDUCTION)
        self.channel = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.position = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, maps: Tensor, valid: Tensor) -> Tensor:
        keep = valid.to(maps.dtype)
        mean, largest = _OverPositions.apply(maps, keep)
        by_channel = torch.sigmoid(self.channel(mean) + self.channel(largest))
        weighed, seen = _Weighed.apply(maps, by_channel)
        refined: Tensor = weighed * (torch.sigmoid(self.position(seen * keep)) * keep)
        return refined


class _OverPositions(torch.autograd.Function):
    """Mean and maximum (N,C) of maps (N,C,h,w) over the positions where `keep` (N,1,h,w) is 1; 0 if there is none."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        count = keep.sum((2, 3))
        mean = torch.bmm(maps.flatten(2), keep.flatten(2).mT)[..., 0] / count.clamp_min(1)
        largest, places = (maps + keep.log()).flatten(2).max(2)
        some = count > 0
        ctx.save_for_backward(keep, count, places)
        return mean, torch.where(some, largest, 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_mean: Tensor, of_largest: Tensor) -> tuple[Tensor | None, None]:
        if not ctx.needs_input_grad[0]:
            return None, None
        keep, count, places = ctx.saved_tensors
        gradient = (of_mean / count.clamp_min(1))[..., None, None] * keep
        at_largest = torch.where(count > 0, of_largest, 0.0)[..., None]
        gradient.flatten(2).scatter_add_(2, places[..., None], at_largest)
        return gradient, None


class _Weighed(torch.autograd.Function):
    """Maps (N,C,h,w) times weights (N,C); and the mean and maximum of that over channels, (N,2,h,w)."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        weighed = maps * weights[..., None, None]
        largest, channels = weighed.max(1, keepdim=True)
        ctx.save_for_backward(maps, weights, channels)
        return weighed, torch.cat([weighed.mean(1, keepdim=True), largest], 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_weighed: Tensor, of_seen: Tensor) -> tuple[Tensor | None, Tensor]:
        maps, weights, channels = ctx.saved_tensors
        of_mean, of_largest = of_seen.split(1, 1)
        gradient = of_weighed + of_mean / maps.shape[1]
        gradient.scatter_add_(1, channels, of_largest)
        of_weights = (gradient * maps).sum((2, 3))
        return (gradient.mul_(weights[..., None, None]) if ctx.needs_input_grad[0] else None), of_weights
