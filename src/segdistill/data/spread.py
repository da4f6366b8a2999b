"""Samples that are spread evenly over a data set."""

from __future__ import annotations


def chosen(count: int, most: int | None) -> list[int]:
    """Indices that are evenly spread over a data set.

    Args:
        count: samples of the data set.
        most: indices to choose; None for all.

    Returns:
        Ascending indices, `most` of them or `count` if that is less.
    """
    number = count if most is None else min(count, most)
    return [step * count // number for step in range(number)]
