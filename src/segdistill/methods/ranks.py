"""What the processes of a run tell each other inside a loss; alone, each function gives back what it got."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> tuple[int, int]:
    """(rank, number of ranks) of this process."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def gather(x: Tensor) -> Tensor:
    """The tensors (N,...) of all ranks, one after the other: (ranks * N,...). Gradients of all ranks reach `x`."""
    if world()[1] == 1:
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


def total(x: Tensor) -> Tensor:
    """The sum of `x` over all ranks. Gradients of all ranks reach `x`."""
    if world()[1] == 1:
        return x
    summed: Tensor = _Total.apply(x)
    return summed


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world()[1])]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        rank, ranks = world()
        upstream = upstream.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(upstream)
        return upstream.chunk(ranks)[rank]


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        upstream = upstream.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(upstream)
        return upstream
