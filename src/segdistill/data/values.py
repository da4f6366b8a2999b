"""What the raw values of a mask mean: one lookup table from raw value to class index, void or unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.errors import DataError

UNKNOWN = -1
"""What `LabelValues.look_up` gives for a value without a meaning."""

_PICTURE = 40  # more unknown values than this: a photo, a drawing with soft edges, or instance numbers

Raw = NDArray[np.integer[Any]]
"""A mask as read: 8 or 16 bits a pixel, or a color as 0xRRGGBB."""


class LabelValues:
    """Raw value -> class index.

    Values up to 255 make a table of 256 entries, larger ones one of 65536.
    class_values, void_values: the known values, sorted.

    Args:
        meaning: the class index of each known value, `IGNORE_INDEX` for void. 255 is void unless it says otherwise.
        cause: what a user should look at when a mask holds a value that is not known.
        source: what says which values are known, as "the 3 classes of FILE".
        colors: whether the values are colors, as 0xRRGGBB.
    """

    def __init__(self, meaning: Mapping[int, int], *, cause: str = "", source: str = "", colors: bool = False) -> None:
        classes_of = dict(meaning) if colors else {IGNORE_INDEX: IGNORE_INDEX, **meaning}
        self.colors = colors
        self.cause, self.source = cause, source
        self.class_values = sorted(value for value, index in classes_of.items() if index != IGNORE_INDEX)
        self.void_values = sorted(value for value, index in classes_of.items() if index == IGNORE_INDEX)
        self._keys = np.array(sorted(classes_of), np.uint32)
        if colors:
            self._table = np.array([classes_of[int(key)] for key in self._keys], np.int16)
        else:
            self._table = np.full(65536 if max(classes_of) > IGNORE_INDEX else 256, UNKNOWN, np.int16)
            self._table[self._keys] = [classes_of[int(key)] for key in self._keys]

    @classmethod
    def of_indices(cls, num_classes: int, void: Iterable[int] = (), *, cause: str = "") -> LabelValues:
        """Values that are the class indices already.

        Args:
            num_classes: K; the values 0 .. K - 1.
            void: values that are not trained on, beside 255.
            cause: as of the class.

        Returns:
            The lookup table.
        """
        return cls({**{k: k for k in range(num_classes)}, **dict.fromkeys(void, IGNORE_INDEX)}, cause=cause)

    def __call__(self, raw: Raw, path: Path) -> NDArray[np.uint8]:
        """Class indices of a raw mask.

        Args:
            raw: as `read_mask` gives it, (H,W).
            path: of the mask, for the message.

        Returns:
            Class indices or void (H,W), uint8.

        Raises:
            DataError: the mask holds a value without a meaning.
        """
        label = self.look_up(raw)
        if label.size and label.min() == UNKNOWN:
            raise DataError(self._complaint(raw, label == UNKNOWN, path))
        return label.astype(np.uint8)

    def as_dict(self) -> dict[int, int]:
        """The class index of each known value, `IGNORE_INDEX` for void."""
        return dict(zip(self._keys.tolist(), self.look_up(self._keys).tolist(), strict=True))

    def look_up(self, raw: Raw) -> NDArray[np.int16]:
        """The meaning of each raw value, whether it has one or not.

        Args:
            raw: values of any shape.

        Returns:
            Class index, `IGNORE_INDEX` or `UNKNOWN`, of the same shape, int16.
        """
        if not self.colors and raw.dtype == np.uint8 and raw.size:  # of a whole mask, in a third of the time
            return np.asarray(cv2.LUT(np.ascontiguousarray(raw), self._table[:256]), np.int16).reshape(raw.shape)
        if not self.colors and raw.max(initial=0) < len(self._table):
            return self._table[raw]
        if not self.colors:
            inside: NDArray[np.int16] = np.where(raw < len(self._table), self._table[raw % len(self._table)], UNKNOWN)
            return inside
        positions = np.searchsorted(self._keys, raw).clip(max=len(self._keys) - 1)
        classes: NDArray[np.int16] = np.where(self._keys[positions] == raw, self._table[positions], UNKNOWN)
        return classes

    def _complaint(self, raw: Raw, unknown: NDArray[np.bool_], path: Path) -> str:
        values, counts = np.unique(raw[unknown], return_counts=True)
        more = f", and {len(values) - 1} other value(s) that mean nothing" if len(values) > 1 else ""
        share = f"in {100 * counts[0] / raw.size:.3g} % of its pixels{more}"
        what = f"the color {_color(values[0])}" if self.colors else f"the value {values[0]}"
        cause = self._likely(raw, values) or self.cause
        return f"Mask {path} holds {what}; expected {self.expected()}. It is {share}. {cause}"

    def _likely(self, raw: Raw, values: Raw) -> str:
        """The cause, where the values themselves tell it."""
        if len(values) > _PICTURE:
            return (
                "So many values are no class indices: this is a photo, a drawing saved as JPEG or resized with smooth "
                "edges, or a map of instances. Export the masks anew, as PNG, without smoothing."
            )
        last = self.class_values[-1]
        counted_from_0 = self.class_values == list(range(last + 1))
        if counted_from_0 and not self.colors and values.tolist() == [last + 1] and raw.min() > 0:
            return (
                "It holds no 0, so the classes seem to be counted from 1. For your own folder say so with "
                "data.values={1: 0, 2: 1, ...}, raw value: class."
            )
        return ""

    def expected(self) -> str:
        """The known values, and what says that they are."""
        source = f" ({self.source})" if self.source else ""
        void = f" or void ({self.listed(self.void_values)})" if self.void_values else ""
        return f"{self.listed(self.class_values)}{source}{void}"

    def listed(self, values: list[int]) -> str:
        """Values in few words.

        Args:
            values: Raw ones, ascending; 0xRRGGBB if they are colors.

        Returns:
            Runs as "0..18, 33", or up to six colors as (r, g, b) and how many there are.
        """
        if not self.colors:
            return ranges(values)
        shown = ", ".join(_color(value) for value in values[:6])
        return shown + (f", ... ({len(values)} in all)" if len(values) > 6 else "")


def ranges(values: Iterable[int]) -> str:
    """Whole numbers in few words: "0..18, 33".

    Args:
        values: ascending.

    Returns:
        Their runs.
    """
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(low) if low == high else f"{low}..{high}" for low, high in runs)


def packed(color: Iterable[int]) -> int:
    """A color as one number.

    Args:
        color: red, green, blue, 0 to 255 each.

    Returns:
        0xRRGGBB.
    """
    red, green, blue = color
    return red << 16 | green << 8 | blue


def _color(value: int) -> str:
    return f"({value >> 16}, {value >> 8 & 255}, {value & 255})"
