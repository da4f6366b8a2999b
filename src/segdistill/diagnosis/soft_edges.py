"""Masks that were resized smoothly, or saved as JPEG once, although every value in them is a class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segdistill.data.values import Raw

_SHARE = 0.5  # of the pixels of a value
_VALUES = 2
_MOST = 0.2  # of the pixels of a mask
_BESIDE = 2  # between a value's lower and its higher neighbor
_APART = 0.1  # of the pixels on the way


def values_between(raw: Raw) -> list[int]:
    """Values that occur mostly on the way from a lower to a higher one, as smoothing makes them and people don't.

    A pixel is on the way if its value lies strictly between those of its two neighbors, to the sides or above and
    below: 0 [3] 5 is, 0 [3] 0 and 3 [3] 5 are not. Thin layers that people draw in the order of their classes, 1 [2] 3,
    are, too, so that some must be further apart.

    Args:
        raw: mask values (H,W); one that was doubled without smoothing is looked at as it was before.

    Returns:
        Ascending values at least half of whose pixels are on the way; none if it is a single value, as a border of one
        pixel that people draw, or if they cover a fifth of the mask, as slopes and noise do.
    """
    raw = _undoubled(raw)
    on_the_way, apart = np.zeros(raw.shape, bool), np.zeros(raw.shape, bool)
    for first, middle, last, place in (
        (raw[:-2], raw[1:-1], raw[2:], np.s_[1:-1]),
        (raw[:, :-2], raw[:, 1:-1], raw[:, 2:], np.s_[:, 1:-1]),
    ):
        lower, higher = np.minimum(first, last), np.maximum(first, last)
        between = (lower < middle) & (middle < higher)
        on_the_way[place] |= between
        apart[place] |= between & (higher - lower > _BESIDE)
    values, counts = _counts(raw[on_the_way])
    if len(values) < _VALUES or apart.sum() < _APART * on_the_way.sum():
        return []
    totals = dict(zip(*(each.tolist() for each in _counts(raw)), strict=True))
    smoothed = [value for value, count in zip(values.tolist(), counts.tolist(), strict=True)
             if count >= _SHARE * totals[value]]  # fmt: skip
    covered = sum(totals[value] for value in smoothed)
    return smoothed if len(smoothed) >= _VALUES and covered <= _MOST * raw.size else []


def _undoubled(raw: Raw) -> Raw:
    """The mask before its sides were doubled by nearest neighbors, as often as that was done."""
    while min(raw.shape) >= 4 and not any(side % 2 for side in raw.shape):
        half = raw[::2, ::2]
        if not all(np.array_equal(half, other) for other in (raw[1::2, ::2], raw[::2, 1::2], raw[1::2, 1::2])):
            break
        raw = half
    return raw


def _counts(raw: Raw) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    if raw.dtype != np.uint8:
        return np.unique(raw, return_counts=True)
    counts = np.bincount(raw.ravel(), minlength=256)
    return np.flatnonzero(counts), counts[counts > 0]
