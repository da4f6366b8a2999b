"""A stretch of an axis as bilinear resizing makes it, without making the rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from segdistill.core.outputs import linear_taps


@dataclass(frozen=True)
class Taps:
    """A part of a resized axis: which positions of the source it reads, and with what weights.

    Position i of the part is `(1 - rest[i]) * x[low[i]] + rest[i] * x[high[i]]` for x = source[start:stop]. low, high:
    indices into x; rest: float64; all (P,) for the P positions of the part. The plain twin of `of` resizes the whole
    axis and cuts the part out.
    """

    # 4 positions a b c d are resized to 8, of which 2, 3 and 4 are asked for:
    #     whole:   a  .75a+.25b  .25a+.75b  .75b+.25c  .25b+.75c  .75c+.25d  .25c+.75d  d
    #     asked:                 ^^^^^^^^^  ^^^^^^^^^  ^^^^^^^^^
    # start, stop = 0, 3, so d is never made; low = 0 1 1, high = 1 2 2, rest = .75 .25 .75.

    start: int
    stop: int
    low: Tensor
    high: Tensor
    rest: Tensor

    def of(self, part: Tensor, dim: int) -> Tensor:
        """The positions, made of the source's part x = source[start:stop].

        Args:
            part: x, floating point, with stop - start elements along `dim`.
            dim: the resized axis.

        Returns:
            As `part`, with P elements along `dim`.
        """
        first = part.movedim(dim, 0).contiguous()  # whole slices are copied, many times as fast as elements
        low, high = (first.index_select(0, index.to(part.device)) for index in (self.low, self.high))
        rest = self.rest.to(part).view(-1, *[1] * (part.ndim - 1))
        return low.lerp_(high, rest).movedim(0, dim)


def taps(source: int, target: int, first: int, last: int, *, align_corners: bool) -> Taps:
    """Positions `first` .. `last` - 1 of an axis that is resized bilinearly.

    Args:
        source: number of positions before.
        target: number of positions after.
        first: of those after, the first to make.
        last: the one behind the last.
        align_corners: as of `torch.nn.functional.interpolate`.

    Returns:
        What to read, and how to weigh it.
    """
    low, high, rest = (whole[first:last] for whole in _axis(source, target, align_corners))
    start = int(low[0])
    return Taps(start, int(high[-1]) + 1, low - start, high - start, rest)


@lru_cache(maxsize=32)
def _axis(source: int, target: int, align_corners: bool) -> tuple[Tensor, Tensor, Tensor]:
    return linear_taps(source, target, align_corners=align_corners)


@lru_cache(maxsize=512)
def lift(source: int, target: int, first: int, last: int, align_corners: bool) -> tuple[Tensor, int, int]:
    """`taps` as a matrix: faster for a few positions of many columns.

    Args:
        source, target, first, last, align_corners: as of `taps`.

    Returns:
        A matrix (last-first,stop-start), float32, that makes the positions of source[start:stop]; start; stop. Its
        plain twin is `Taps.of`.
    """
    # The rows of the drawing above, 4 positions to 8, of which 2, 3 and 4 are asked for: each row of the matrix has its
    # two weights in the columns of what it reads, a b c.
    #     .25 .75  0
    #      0  .75 .25
    #      0  .25 .75
    # At a border low and high are one position, whose weights are added: rest and 1 - rest make 1.
    part = taps(source, target, first, last, align_corners=align_corners)
    matrix = torch.zeros(last - first, part.stop - part.start, dtype=torch.float64)
    matrix.scatter_add_(1, part.low[:, None], (1 - part.rest)[:, None])
    matrix.scatter_add_(1, part.high[:, None], part.rest[:, None])
    return matrix.float(), part.start, part.stop
