"""Training curves: the mean over seeds of every logged number, with the band from the lowest seed to the highest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdistill.reporting.curves import journal
from segdistill.reporting.numbers import compact
from segdistill.reporting.page.scales import Scale, scale
from segdistill.reporting.page.subject import Subject

WIDTH, HEIGHT = 360, 240
"""Of a figure, in units of its viewBox; about as many CSS pixels on a phone, so that text keeps its size."""
LEFT, RIGHT, TOP, BOTTOM = 44, 342, 10, 206
_POINTS = 120  # of a curve; a run's log may have thousands
_ROWS = 12  # of a panel's table
_NO_TERMS = ("kind", "step", "seconds", "lr")
_SCORE = "validation mIoU"

Numbers = NDArray[np.float64]
Points = tuple[Numbers, Numbers]


@dataclass(frozen=True)
class Curve:
    """A label's curve, in units of the viewBox.

    Attributes:
        name: The label.
        style: Its number among the labels.
        seeds: How many runs it is the mean of.
        line: SVG path of the mean.
        band: SVG path from the lowest seed to the highest; empty for one seed.
        dots: Positions of the values, if they are few.
    """

    name: str
    style: int
    seeds: int
    line: str
    band: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    """The chart of one logged number.

    Attributes:
        title: Of the figure.
        x: The axis of steps.
        y: The axis of values.
        curves: One for each label that logged it.
        level: Position and text of the teacher's value, if it has one.
        table: Headings and rows: steps, and each curve's values there.
    """

    title: str
    x: Scale
    y: Scale
    curves: tuple[Curve, ...]
    level: tuple[float, str] | None
    table: tuple[tuple[str, ...], ...]


def panels(subject: Subject) -> list[Panel]:
    """A panel for the validation mIoU, then one for every loss term.

    Args:
        subject: The study and its folder; runs without a log are left out.

    Returns:
        The panels of what was logged.

    Raises:
        DataError: A log is damaged.
    """
    labels = subject.labels()
    logs = {label: [journal(run.path) for run in subject.runs(label) if run.metrics.is_file()] for label in labels}
    terms = dict.fromkeys(
        key for runs in logs.values() for lines in runs for line in lines if line["kind"] == "train" for key in line
    )
    made = []
    for term in (_SCORE, *(term for term in terms if term not in _NO_TERMS)):
        series = {label: [_series(lines, term) for lines in runs] for label, runs in logs.items()}
        with_data = {label: [each for each in runs if len(each[0])] for label, runs in series.items()}
        with_data = {label: runs for label, runs in with_data.items() if runs}
        if with_data:
            teacher = subject.study.teacher.miou if term == _SCORE and subject.study.teacher is not None else None
            made.append(_panel(term, with_data, labels, teacher))
    return made


def _series(lines: Sequence[Mapping[str, Any]], term: str) -> Points:
    kind, key = ("validation", "miou") if term == _SCORE else ("train", term)
    entries = [(line["step"], line[key]) for line in lines if line["kind"] == kind and line.get(key) is not None]
    entries = [pair for pair in entries if math.isfinite(pair[1])]
    steps, values = (np.array([pair[column] for pair in entries], float) for column in (0, 1))
    return steps, values


def _panel(term: str, series: Mapping[str, Sequence[Points]], labels: Sequence[str], teacher: float | None) -> Panel:
    merged = {label: _over_seeds(runs) for label, runs in series.items()}
    heights = [value for each in merged.values() for values in each[1:] for value in values]
    if teacher is not None:
        heights.append(teacher)
    x = scale([step for each in merged.values() for step in each[0]], LEFT, RIGHT, zero=True, ticks=4, tight=True)
    y = scale(heights, BOTTOM, TOP)
    curves = tuple(
        _curve(label, labels.index(label), len(series[label]), merged[label], x, y)
        for label in labels
        if label in merged
    )
    level = None if teacher is None else (y.position(teacher), f"teacher {teacher:.1f}")
    title = "Validation mIoU, %" if term == _SCORE else f"Loss term {term}"
    return Panel(title, x, y, curves, level, _table(merged, labels))


def _over_seeds(runs: Sequence[Points]) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Steps, mean, lowest and highest of the runs, on the steps that all of them span; long ones thinned by means."""
    first, last = max(run[0][0] for run in runs), min(run[0][-1] for run in runs)
    steps = np.unique(np.concatenate([run[0] for run in runs]))
    inside = steps[(steps >= first) & (steps <= last)]
    if not len(inside):  # runs of different budgets that don't overlap: the first speaks alone
        inside, runs = runs[0][0], runs[:1]
    values = np.stack([np.interp(inside, *run) for run in runs])
    if len(inside) > _POINTS:
        cuts = np.array_split(np.arange(len(inside)), _POINTS)
        values = np.stack([values[:, cut].mean(1) for cut in cuts], 1)
        inside = np.array([inside[cut].mean() for cut in cuts])
    return inside, values.mean(0), values.min(0), values.max(0)


def _curve(
    label: str, style: int, seeds: int, merged: tuple[Numbers, Numbers, Numbers, Numbers], x: Scale, y: Scale
) -> Curve:
    steps, mean, low, high = merged
    line = [(x.position(step), y.position(value)) for step, value in zip(steps, mean, strict=True)]
    band = ""
    if seeds > 1:
        above = [(x.position(step), y.position(value)) for step, value in zip(steps, high, strict=True)]
        below = [(x.position(step), y.position(value)) for step, value in zip(steps, low, strict=True)]
        band = _path([*above, *reversed(below)]) + "Z"
    return Curve(label, style, seeds, _path(line), band, tuple(line) if len(line) <= _ROWS else ())


def _path(positions: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in positions)


def _table(
    merged: Mapping[str, tuple[Numbers, Numbers, Numbers, Numbers]], labels: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    """Heading and rows: about a dozen steps, and each curve's mean there."""
    names = [label for label in labels if label in merged]
    steps = np.unique(np.concatenate([merged[name][0] for name in names]))
    chosen = steps[np.unique(np.linspace(0, len(steps) - 1, min(_ROWS, len(steps))).round().astype(int))]
    rows = [("step", *names)]
    for step in chosen:
        named = (merged[name] for name in names)
        cells = ["" if not each[0][0] <= step <= each[0][-1] else _cell(np.interp(step, *each[:2])) for each in named]
        rows.append((compact(round(float(step))), *cells))
    return tuple(rows)


def _cell(value: float) -> str:
    return f"{value:.4g}"
