"""The squared distance of two networks' maps."""

from __future__ import annotations

from torch import Tensor


def squared_distance(f_s: Tensor, f_t: Tensor, valid: Tensor | None) -> Tensor:
    """sum over n, channels, positions of (f_s - f_t)^2, where `valid` is True.

    Args:
        f_s: the student's maps (N,C,h,w).
        f_t: the teacher's maps (N,C,h,w).
        valid: bool (N,1,h,w), the positions that count; None: all.

    Returns:
        A scalar.
    """
    gap = f_s - f_t
    if valid is not None:
        gap = gap * valid
    return gap.square().sum()
