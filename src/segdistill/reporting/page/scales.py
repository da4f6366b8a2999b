"""Axes: from values to positions, and where the ticks go."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from segdistill.reporting.numbers import compact


@dataclass(frozen=True)
class Scale:
    """A linear axis.

    Attributes:
        low: The value at `start`.
        high: The value at `end`.
        start: Position of the axis's beginning.
        end: Position of its end.
        step: Between two ticks, in values.
    """

    low: float
    high: float
    start: float
    end: float
    step: float

    def position(self, value: float) -> float:
        """Where a value is on the axis.

        Args:
            value: That is drawn.

        Returns:
            Its position, to hundredths.
        """
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 2)

    def ticks(self) -> list[tuple[float, str]]:
        """Positions and texts of the round values on the axis."""
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        values = (round(number * self.step, 10) for number in range(first, last + 1))
        return [(self.position(value), compact(value)) for value in values]


def scale(
    values: Iterable[float], start: float, end: float, *, zero: bool = False, ticks: int = 5, tight: bool = False
) -> Scale:
    """An axis that holds all values.

    Args:
        values: What is drawn; those that are not finite are left out.
        start: Position of the axis's beginning.
        end: Position of its end.
        zero: Whether it begins at zero, or ends there.
        ticks: About how many round values are marked.
        tight: Whether it ends at the values instead of at the next round ones.

    Returns:
        The axis.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = (0.0, high or 1.0) if zero and high >= 0 else (low - 0.5, high + 0.5)
    step = _round_step((high - low) / ticks)
    if not tight:
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Scale(low, high, start, end, step)


def _round_step(rough: float) -> float:
    """1, 2, 2.5 or 5 times a power of ten, not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next((factor * power for factor in (1.0, 2.0, 2.5, 5.0) if factor * power >= rough - 1e-12), 10 * power)
