"""What the processes of a run tell each other inside a loss; alone, each function says what one process has.

DistributedDataParallel averages the ranks' gradients, so a loss is the joint batch's if the mean of the ranks' terms
is: a rank divides what it sums by the ranks' mean count, or computes the joint value from sums over all ranks.
"""

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
    """The tensors of all ranks, one after the other. Gradients of all ranks reach `x`.

    Args:
        x: (N,...), of one shape on all ranks.

    Returns:
        (ranks * N,...).
    """
    if world()[1] == 1:
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


def total(x: Tensor) -> Tensor:
    """The sum over all ranks. Gradients of all ranks reach `x`.

    Args:
        x: of one shape on all ranks.

    Returns:
        The shape of `x`.
    """
    if world()[1] == 1:
        return x
    summed: Tensor = _Total.apply(x)
    return summed


def mean(x: Tensor) -> Tensor:
    """The mean over all ranks. Gradients of all ranks reach `x`.

    Args:
        x: floating point, of one shape on all ranks.

    Returns:
        The shape of `x`.
    """
    ranks = world()[1]
    return x if ranks == 1 else total(x) / ranks


def mean_count(count: Tensor) -> Tensor:
    """A divisor that makes the mean of the ranks' terms the joint batch's: `count` averaged over the ranks.

    Args:
        count: what this rank has, a scalar.

    Returns:
        A scalar; 1 where no rank has any.
    """
    count = mean(count)
    return torch.where(count > 0, count, 1)


def sum_over(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """A sum along axes, which stay with size 1.

    Args:
        x: maps (N,...).
        dims: the axes; with 0 among them the sum is over the images of all ranks.

    Returns:
        The shape of `x`, with 1 along `dims`.
    """
    summed = x.sum(dims, keepdim=True)
    return total(summed) if 0 in dims else summed


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
