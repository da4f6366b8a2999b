"""Samples that are spread evenly over a data set."""

from __future__ import annotations

import numpy as np


def chosen(count: int, most: int | None, seed: int | None = None) -> list[int]:
    """Indices that are evenly spread over a data set.

    Args:
        count: samples of the data set.
        most: indices to choose; None for all.
        seed: what draws where the first one lies; None begins at 0.

    Returns:
        Ascending indices, `most` of them or `count` if that is less.
    """
    number = count if most is None else min(count, most)
    room = count // number if number else 1
    first = 0 if seed is None else int(np.random.default_rng(seed).integers(room))
    return [step * count // number + first for step in range(number)]
