"""Samples that are spread evenly over a data set."""

from __future__ import annotations


def chosen(count: int, most: int | None) -> list[int]:
    """`most` of `count` places, evenly spread; all if there are no more, or for None."""
    number = count if most is None else min(count, most)
    return [step * count // number for step in range(number)]
