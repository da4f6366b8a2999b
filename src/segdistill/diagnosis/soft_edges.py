"""Masks that were resized smoothly, or saved as JPEG once, although every value in them is a class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segdistill.data.values import Raw

_SHARE = 0.5  # of the pixels of a value
_VALUES = 2
_MOST = 0.2  # of the pixels of a mask


def values_between(raw: Raw) -> list[int]:
    """Values that occur mostly on the way from a lower to a higher one, as smoothing makes them and people don't.

    A pixel is on the way if its value lies strictly between those of its two neighbors, to the sides or above and
    below: 0 [3] 5 is, 0 [3] 0 and 3 [3] 5 are not.

    Args:
        raw: mask values (H,W).

    Returns:
        Ascending values at least half of whose pixels are on the way; none if it is a single value, as a border of one
        pixel that people draw, or if they cover a fifth of the mask, as slopes and noise do.
    """
    on_the_way = np.zeros(raw.shape, bool)
    for before, middle, after, place in (
        (raw[:-2], raw[1:-1], raw[2:], on_the_way[1:-1]),
        (raw[:, :-2], raw[:, 1:-1], raw[:, 2:], on_the_way[:, 1:-1]),
    ):
        place |= ((before < middle) & (middle < after)) | ((before > middle) & (middle > after))
    values, counts = _counts(raw[on_the_way])
    if len(values) < _VALUES:
        return []
    totals = dict(zip(*(each.tolist() for each in _counts(raw)), strict=True))
    smoothed = [value for value, count in zip(values.tolist(), counts.tolist(), strict=True)
             if count >= _SHARE * totals[value]]  # fmt: skip
    covered = sum(totals[value] for value in smoothed)
    return smoothed if len(smoothed) >= _VALUES and covered <= _MOST * raw.size else []


def _counts(raw: Raw) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    if raw.dtype != np.uint8:
        return np.unique(raw, return_counts=True)
    counts = np.bincount(raw.ravel(), minlength=256)
    return np.flatnonzero(counts), counts[counts > 0]
