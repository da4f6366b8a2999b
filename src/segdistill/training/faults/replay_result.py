"""What a saved step shows when it is run again."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segdistill.core.results import Result
from segdistill.training.faults.tracing import Spot


@dataclass(frozen=True)
class Trial:
    """The step once more.

    Attributes:
        what: What was changed.
        terms: Of the loss, by name.
        gradients: The parameters whose gradient is not finite.
        error: What stopped the trial before the step.
    """

    what: str
    terms: dict[str, float]
    gradients: tuple[str, ...] = ()
    error: str = ""

    @property
    def finite(self) -> bool:
        """Whether the step was reached and all its numbers are finite."""
        return not self.error and not self.gradients and all(map(math.isfinite, self.terms.values()))


@dataclass(frozen=True, repr=False)
class Replay(Result):
    """What a saved step shows.

    Attributes:
        file: The saved step.
        step: Counted from 1.
        precision: What the run computed in.
        names: Of the step's samples.
        positions: Of these samples in the order of the run.
        recorded: The terms in the run.
        trials: The first is the step as it was.
        broken: A tensor of the student that was not finite before the step.
        spot: Where it first arises in the networks; None: not in them, but in the loss terms.
        images: The samples in which it does.
        classes: Share of the label's positions whose scores by the student are not finite in the end, by class.
        notes: What was not tried.
    """

    file: Path
    step: int
    precision: str
    names: tuple[str, ...]
    positions: tuple[int, ...]
    recorded: dict[str, float]
    trials: tuple[Trial, ...]
    broken: str | None
    spot: Spot | None
    images: tuple[str, ...]
    classes: dict[str, float]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which knows no NaN: those are text."""
        trials = [{**asdict(trial), "finite": trial.finite} for trial in self.trials]
        plain: dict[str, Any] = _plain({**asdict(self), "trials": trials})
        return plain

    def lines(self) -> list[str]:
        """What people read."""
        samples = ", ".join(f"{name} ({index})" for name, index in zip(self.names, self.positions, strict=True))
        lines = [f"{self.file}: step {self.step} in {self.precision}; samples (positions) {samples}"]
        lines += [f"in the run: {_terms(self.recorded)}"]
        for trial in self.trials:
            result = "finite" if trial.finite else trial.error or "NOT finite"
            more = f"; {len(trial.gradients)} gradients are not, as of {trial.gradients[0]}" if trial.gradients else ""
            lines.append(f"{trial.what}: {result}" + (f": {_terms(trial.terms)}{more}" if trial.terms else ""))
        if self.broken:
            lines.append(f"The weights were broken before the step: {self.broken}.")
        bad = [name for name, value in self.trials[0].terms.items() if not math.isfinite(value)]
        if self.spot is not None:
            lines.append(f"It first arises {self.spot}.")
        elif bad:
            lines.append(f"All outputs of the networks are finite; it arises in the loss: {', '.join(bad)}.")
        if self.images:
            lines.append(f"It arises in {len(self.images)} of {len(self.names)} images: {', '.join(self.images)}.")
        if self.classes:
            shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in self.classes.items())
            lines.append(f"Positions with scores that are not finite in the end, by class: {shares}.")
        return [*lines, *self.notes]


def _terms(terms: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in terms.items())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Path) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return value
