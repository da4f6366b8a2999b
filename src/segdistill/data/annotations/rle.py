"""COCO's run-length codes of binary masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def decode(size: Sequence[int], counts: str | Sequence[int]) -> NDArray[np.bool_]:
    """The mask (H,W) of run lengths that alternate, 0 first, down the columns.

    As text each length is a number in base 32, lowest digits first, one character c a digit: bits 0-4 of c - 48 are
    the digit, bit 5 says that more follow, bit 4 of the last is the sign; from the fourth number on it is the
    difference to the number two before. Source: Lin et al., the COCO API's mask format.

    Args:
        size: (H,W).
        counts: run lengths in pixels, as numbers or as text.

    Returns:
        (H,W), bool.

    Raises:
        ValueError: the runs don't make H * W pixels.
    """
    height, width = size
    runs = _runs(counts) if isinstance(counts, str) else list(counts)
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise ValueError(f"run lengths of {sum(runs)} pixels for a mask of {height}x{width}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T


def _runs(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return runs
