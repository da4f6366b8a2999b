"""The squared distance of two networks' maps, in few passes over memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def squared_distance(f_s: Tensor, f_t: Tensor, valid: Tensor | None) -> Tensor:
    """sum over n, channels, positions of (f_s - f_t)^2 of maps (N,C,h,w), where `valid`, bool (N,1,h,w), is True.

    By f_s alone it can be differentiated, and once.
    """
    value: Tensor = _SquaredDistance.apply(f_s, f_t, valid)
    return value


class _SquaredDistance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, f_s: Tensor, f_t: Tensor, valid: Tensor | None) -> Tensor:
        gap = f_s - f_t
        if valid is not None:
            gap *= valid
        ctx.save_for_backward(gap)
        return gap.square().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gap,) = ctx.saved_tensors
        return gap * (2 * upstream), None, None
