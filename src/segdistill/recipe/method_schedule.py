"""How much a method counts as training goes on: a pure function of the step."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from segdistill.core.numbers import NonNegative
from segdistill.core.typed_settings import TypedSettings


class MethodSchedule(TypedSettings):
    """When a method counts and how much: the factor on all of its terms, by step.

    In a recipe, per method; several methods each have their own, and their terms add up:

        method:
          - kd
          - {name: bpkd, schedule: {warmup: 1000, decay: linear, stop: 20000}}
          - {name: cwd, temperature: 2, schedule: {weight: 0.5, start: 20000}}

    or on the command line `method.bpkd.schedule.stop=20000`.

    factor(step) = weight * rise * fall for start <= step < stop, else 0.
      rise = (step - start + 1) / warmup in the first `warmup` steps, then 1
      fall = 1 - p ("linear") or (1 + cos(pi p)) / 2 ("cosine"), p = share of the way from the end of the warm-up to
             `stop`; 1 without decay and during the warm-up
    Steps count from 0 and are the optimiser's; stop null is the end of the run. The factor depends on nothing but the
    step, so a resumed run goes on as if it had never stopped. Outside of start..stop the method isn't computed, and if
    no method counts, nor is the teacher.
    """

    weight: NonNegative = 1.0
    """The factor on all terms of the method where neither warm-up nor decay lowers it."""

    start: int = Field(0, ge=0)
    """The first step in which the method counts, from 0."""

    warmup: int = Field(0, ge=0)
    """Steps from `start` on in which the factor rises linearly; 0 starts in full."""

    decay: Literal["none", "linear", "cosine"] = "none"
    """How the factor falls from the end of the warm-up to `stop`; "none" keeps it until then."""

    stop: int | None = Field(None, ge=1)
    """The first step in which the method no longer counts; null is the end of the run."""

    def factor(self, step: int, steps: int) -> float:
        """What the terms are multiplied with.

        Args:
            step: of the optimizer, from 0.
            steps: of the run.

        Returns:
            The factor, 0 where the method does not count.
        """
        stop = steps if self.stop is None else self.stop
        if not self.start <= step < stop:
            return 0.0
        full = self.start + self.warmup
        if step < full:
            return self.weight * (step - self.start + 1) / self.warmup
        progress = (step - full) / (stop - full)
        if self.decay == "linear":
            return self.weight * (1 - progress)
        if self.decay == "cosine":
            return self.weight * 0.5 * (1 + math.cos(math.pi * progress))
        return self.weight

    @model_validator(mode="after")
    def _in_order(self) -> MethodSchedule:
        if self.stop is not None and self.stop <= self.start + self.warmup:
            raise ValueError(f"stop {self.stop} is not after start {self.start} and warmup {self.warmup}")
        return self
