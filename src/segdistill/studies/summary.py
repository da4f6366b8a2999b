"""From finished runs to what each method was worth."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scipy.special import stdtrit

from segdistill.studies.result import ALONE, ClassGain, Gain, Outcome, Spread, Summary

_CONFIDENCE = 0.95


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation.

    Args:
        values: One or more.

    Returns:
        Both, without a deviation for a single value.
    """
    return Spread(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None, tuple(values))


def gain(values: Sequence[float]) -> Gain:
    """Mean of paired differences with its 95 % confidence interval, mean +- t std / sqrt(n).

    Args:
        values: n differences, one or more.

    Returns:
        Both, without an interval for a single value.
    """
    over_seeds = spread(values)
    low = high = None
    if over_seeds.std is not None:
        half = float(stdtrit(len(values) - 1, (1 + _CONFIDENCE) / 2)) * over_seeds.std / len(values) ** 0.5
        low, high = over_seeds.mean - half, over_seeds.mean + half
    return Gain(over_seeds.mean, over_seeds.std, over_seeds.values, low, high)


def summarise(
    outcomes: Sequence[Outcome],
    methods: Mapping[str, list[dict[str, Any]]],
    classes: Sequence[str],
    teacher: Outcome | None,
    *,
    alone: Mapping[int, Outcome] | None = None,
) -> tuple[Summary, ...]:
    """The student alone and every method that has a finished run, in the order of `methods`.

    Args:
        outcomes: Finished runs.
        methods: Recipe entries by label.
        classes: Names, in the order of `Outcome.iou`.
        teacher: Its outcome, if it was scored.
        alone: By seed, the student alone that a method's run of that seed is compared with; default that of the same
            seed among the outcomes.

    Returns:
        A summary for each label.
    """
    if alone is None:
        alone = {outcome.seed: outcome for outcome in outcomes if outcome.label == ALONE}
    rows = []
    for label in (ALONE, *methods):
        runs = [outcome for outcome in outcomes if outcome.label == label]
        if runs:
            rows.append(_summary(label, methods.get(label, []), runs, alone, classes, teacher))
    return tuple(rows)


def _summary(
    label: str,
    method: list[dict[str, Any]],
    runs: Sequence[Outcome],
    alone: Mapping[int, Outcome],
    classes: Sequence[str],
    teacher: Outcome | None,
) -> Summary:
    pairs = [(outcome, alone[outcome.seed]) for outcome in runs if outcome.seed in alone and label != ALONE]
    by_miou = _gains(pairs, lambda outcome: outcome.miou)
    timed = bool(pairs) and all(other.step_seconds > 0 and _alike(one, other) for one, other in pairs)
    cost = statistics.mean(one.step_seconds / other.step_seconds for one, other in pairs) if timed else None
    return Summary(
        label=label,
        method=method,
        seeds=tuple(outcome.seed for outcome in runs),
        steps=runs[0].steps,
        minutes=statistics.mean(outcome.seconds for outcome in runs) / 60,
        step_seconds=statistics.mean(outcome.step_seconds for outcome in runs),
        cost=cost,
        miou=spread([outcome.miou for outcome in runs]),
        macc=spread([outcome.macc for outcome in runs]),
        aacc=spread([outcome.aacc for outcome in runs]),
        edge_miou=_maybe(runs, lambda outcome: outcome.edge_miou),
        body_miou=_maybe(runs, lambda outcome: outcome.body_miou),
        boundary_miou=_maybe(runs, lambda outcome: outcome.boundary_miou),
        gain=by_miou,
        edge_gain=_gains(pairs, lambda outcome: outcome.edge_miou),
        body_gain=_gains(pairs, lambda outcome: outcome.body_miou),
        gap_closed=_gap_closed(pairs, by_miou, teacher),
        classes=_class_gains(pairs, classes),
    )


def _alike(one: Outcome, other: Outcome) -> bool:
    """Whether the seconds a step of two runs can be compared."""

    def where(run: Outcome) -> tuple[object, ...]:
        return run.batch_size, run.machine, run.device, run.threads

    return where(one) == where(other)


def _gains(pairs: Sequence[tuple[Outcome, Outcome]], score: Callable[[Outcome], float | None]) -> Gain | None:
    """Differences of a score within pairs of one seed, where both have it."""
    scores = [(score(outcome), score(alone)) for outcome, alone in pairs]
    differences = [one - other for one, other in scores if one is not None and other is not None]
    return gain(differences) if differences else None


def _maybe(runs: Sequence[Outcome], score: Callable[[Outcome], float | None]) -> Spread | None:
    """The spread of a score that every run has."""
    values = [value for outcome in runs if (value := score(outcome)) is not None]
    return spread(values) if len(values) == len(runs) else None


def _gap_closed(pairs: Sequence[tuple[Outcome, Outcome]], by: Gain | None, teacher: Outcome | None) -> float | None:
    """Mean gain over the mean distance of student alone and teacher; None where the teacher is not better."""
    if by is None or teacher is None:
        return None
    gap = teacher.miou - statistics.mean(alone.miou for _, alone in pairs)
    return by.mean / gap if gap > 0 else None


def _class_gains(pairs: Sequence[tuple[Outcome, Outcome]], classes: Sequence[str]) -> tuple[ClassGain, ...]:
    gains = []
    for index, name in enumerate(classes):
        by = _gains(pairs, lambda outcome, index=index: outcome.iou[index])  # type: ignore[misc]
        if by is not None:
            gains.append(ClassGain(name, by.mean))
    return tuple(sorted(gains, key=lambda each: -each.points))
