"""How large the gradients of a method's term and of the task were, over the steps in which both had one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class GradientSums:
    """Squared gradient norms at each of the student's maps: of a term, and of the task."""

    term: list[float] = field(default_factory=list)
    task: list[float] = field(default_factory=list)

    def __add__(self, other: GradientSums) -> GradientSums:
        return GradientSums(_added(self.term, other.term), _added(self.task, other.task))

    @property
    def place(self) -> int | None:
        """The last map that both reach, None if there is none. The embedding comes first, though it lies behind all."""
        both = [index for index, pair in enumerate(zip(self.term, self.task, strict=True)) if min(pair) > 0]
        return both[-1] if both else None


@dataclass
class MeasuredTerm:
    """What is known of a term.

    Attributes:
        reaches: Whether any of the student's maps has a gradient of it, of whatever size.
        steps: In how many steps before `step` it and the task both had a gradient at one map.
        sums: Over these.
        step: That was looked at last; it may have further micro-batches.
        latest: Of that step.
    """

    reaches: bool = False
    steps: int = 0
    sums: GradientSums = field(default_factory=GradientSums)
    step: int = -1
    latest: GradientSums = field(default_factory=GradientSums)

    def add(self, step: int, sums: GradientSums) -> None:
        """Count a micro-batch of a step."""
        if step != self.step:
            self.steps, self.sums = self.measured(step), self.total()
            self.step, self.latest = step, GradientSums()
        self.latest += sums

    def measured(self, step: int) -> int:
        """How many steps before another are measured."""
        return self.steps + (self.step < step and self.latest.place is not None)

    def total(self) -> GradientSums:
        """Over all steps that are measured."""
        return self.sums if self.latest.place is None else self.sums + self.latest

    def ratio(self) -> float | None:
        """Of the task's gradient norm to its own; None while nothing is measured."""
        total = self.total()
        return None if total.place is None else math.sqrt(total.task[total.place] / total.term[total.place])


def _added(one: list[float], other: list[float]) -> list[float]:
    """Number by number; nothing is added to an empty list yet."""
    return [a + b for a, b in zip(one, other, strict=True)] if one and other else one or other
