"""Square windows over maps: minima, maxima, unions."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def inner_window(maps: Tensor, radius: int, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """What all values of each (2 radius + 1)^2 window come to, in about 2 log2(2 radius + 1) passes.

    Args:
        maps: (..,H,W).
        radius: in pixels.
        combine: associative and idempotent, as minimum.

    Returns:
        (..,H-2 radius,W-2 radius): only windows that lie inside.
    """
    width = 2 * radius + 1
    for axis in (-2, -1):
        reach = 1
        while reach < width:  # a window of 2n pixels is two windows of n, n pixels apart
            step = min(reach, width - reach)
            length = maps.shape[axis] - step
            maps = combine(maps.narrow(axis, 0, length), maps.narrow(axis, step, length))
            reach += step
    return maps
