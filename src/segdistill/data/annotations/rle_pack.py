"""The bit-packed run lengths of Label Studio's brushes, read and written.

Format: github.com/thi-ng/umbrella, packages/rle-pack. Bits, highest first:

    32: how many values   5: bits of a value - 1   4 times 4: bits of a length - 1, for four kinds of lengths
    then, until all values are there,
    1: whether one value is repeated   2: kind of the length   length - 1   the value, or `length` values
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def unpack(packed: Sequence[int], expected: int) -> NDArray[np.uint32]:
    """The values.

    Args:
        packed: bytes as numbers.
        expected: how many values there must be.

    Returns:
        (expected,), uint32.

    Raises:
        ValueError: the bytes end too early, or hold another number of values.
    """
    content = bytes(packed)
    place = 0

    def read(bits: int) -> int:
        nonlocal place
        first, last = place // 8, (place + bits + 7) // 8
        if last > len(content):
            raise ValueError(f"run lengths that end after {len(content)} bytes")
        value = int.from_bytes(content[first:last]) >> (8 * last - place - bits)
        place += bits
        return value & (1 << bits) - 1

    count = read(32)
    if count != expected:
        raise ValueError(f"run lengths of {count} values; expected {expected}, four for a pixel")
    width = read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values = np.zeros(count, np.uint32)
    at = 0
    while at < count:
        repeated, size = read(1), sizes[read(2)]
        end = at + read(size) + 1
        if end > count:
            raise ValueError(f"run lengths of more than {count} values")
        values[at:end] = read(width) if repeated else [read(width) for _ in range(end - at)]
        at = end
    return values


_WIDTHS = (4, 8, 12, 16)
"""Bits of the lengths that `pack` writes."""


def pack(runs: Sequence[int]) -> list[int]:
    """The code of a mask's alternating run lengths, 0 first; 1 is written as 255, as opaque pixels have it.

    Args:
        runs: in values, four for a pixel; the last one may be of either kind.

    Returns:
        Bytes as numbers, which `unpack` reads.
    """
    bits = [f"{sum(runs):032b}", f"{8 - 1:05b}", *(f"{width - 1:04b}" for width in _WIDTHS)]
    for number, run in enumerate(runs):
        value = f"{255 * (number % 2):08b}"
        while run > 0:
            part = min(run, 1 << _WIDTHS[-1])
            kind = next(kind for kind, width in enumerate(_WIDTHS) if part <= 1 << width)
            bits.append(f"1{kind:02b}{part - 1:0{_WIDTHS[kind]}b}{value}")
            run -= part
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8))
