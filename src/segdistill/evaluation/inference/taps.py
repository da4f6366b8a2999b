"""A stretch of an axis as bilinear resizing makes it, without making the rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from segdistill.core.outputs import linear_taps


@dataclass(frozen=True)
class Taps:
    """Places `first` .. of an axis, each `(1 - rest) * x[low] + rest * x[high]` of x[start:stop] of the resized axis.

    low, high: indices into x[start:stop]; rest: float64; all of as many elements as places.
    """

    start: int
    stop: int
    low: Tensor
    high: Tensor
    rest: Tensor

    def of(self, part: Tensor, dim: int) -> Tensor:
        """The places, from `part` = x[start:stop] along `dim`, floating point."""
        first = part.movedim(dim, 0).contiguous()  # whole slices are copied, many times as fast as elements
        low, high = (first.index_select(0, index.to(part.device)) for index in (self.low, self.high))
        rest = self.rest.to(part).view(-1, *[1] * (part.ndim - 1))
        return low.lerp_(high, rest).movedim(0, dim)


def taps(source: int, target: int, first: int, last: int, *, align_corners: bool) -> Taps:
    """Places `first` .. `last` - 1 of an axis that is resized from `source` to `target` places."""
    low, high, rest = (whole[first:last] for whole in _axis(source, target, align_corners))
    start = int(low[0])
    return Taps(start, int(high[-1]) + 1, low - start, high - start, rest)


@lru_cache(maxsize=32)
def _axis(source: int, target: int, align_corners: bool) -> tuple[Tensor, Tensor, Tensor]:
    return linear_taps(source, target, align_corners=align_corners)


@lru_cache(maxsize=512)
def lift(source: int, target: int, first: int, last: int, align_corners: bool) -> tuple[Tensor, int, int]:
    """`taps` as a matrix (last-first,stop-start) with its start and stop: faster for a few places of many columns."""
    part = taps(source, target, first, last, align_corners=align_corners)
    matrix = torch.zeros(last - first, part.stop - part.start, dtype=torch.float64)
    matrix.scatter_add_(1, part.low[:, None], (1 - part.rest)[:, None])
    matrix.scatter_add_(1, part.high[:, None], part.rest[:, None])
    return matrix.float(), part.start, part.stop
