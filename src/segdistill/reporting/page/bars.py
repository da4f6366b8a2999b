"""Bars of gains: by method, by region and by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segdistill.reporting.answer import ends
from segdistill.reporting.numbers import points, signed
from segdistill.reporting.page.scales import scale
from segdistill.studies.result import ALONE, Gain, Study, Summary

_SHOWN = 24  # classes in the figure; a table has all of them


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart.

    Attributes:
        name: Of the method or class.
        gain: As text.
        left: Of the bar, in percent of the field.
        width: Of the bar, in percent of the field.
        negative: Whether it is a loss.
        whisker: Left and width of the interval, in percent of the field; None if there is none.
        cells: What stands beside the name, as text.
    """

    name: str
    gain: str
    left: float
    width: float
    negative: bool
    whisker: tuple[float, float] | None
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Bars:
    """Rows on one scale.

    Attributes:
        title: Of the figure.
        headings: Of the name, the gain and the cells.
        rows: From top to bottom.
        zero: Where a gain of zero is, in percent of the field.
        description: What the figure leaves out, if anything.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[Bar, ...]
    zero: float
    description: str = ""


def by_method(study: Study) -> Bars | None:
    """The gain in mIoU of every method.

    Args:
        study: What was found.

    Returns:
        A bar for each method; None if no gain is known.
    """
    rows = [(row, row.gain) for row in study.methods()]
    return _of_gains("Gain in mIoU by method", rows)


def by_region(study: Study) -> list[Bars]:
    """The gains at the edges of things and inside them, by method.

    Args:
        study: What was found.

    Returns:
        A chart for each region in which a gain is known.
    """
    methods = study.methods()
    edge = _of_gains("At edges: gain in edge mIoU", [(row, row.edge_gain) for row in methods])
    body = _of_gains("Inside: gain in body mIoU", [(row, row.body_gain) for row in methods])
    return [bars for bars in (edge, body) if bars is not None]


def by_class(study: Study, best: Summary) -> Bars | None:
    """The gain in IoU of every class.

    Args:
        study: Has the IoU of the runs.
        best: The method.

    Returns:
        A bar for each class, of very many for the first and the last ones; None if no gain is known.
    """
    if not best.classes:
        return None
    moved, description = list(best.classes), ""
    if len(moved) > _SHOWN:
        half = _SHOWN // 2
        description = (
            f"The {half} classes that gained most and the {half} that gained least of {len(moved)}; the table has all."
        )
        moved = [*moved[:half], *moved[-half:]]
    levels = dict(class_table(study, [ALONE, best.label]))
    rows = [(each.name, each.points, None, tuple(points(value) for value in levels[each.name])) for each in moved]
    headings = ("class", "gain in IoU", ALONE, best.label)
    return _bars(f"Gain in IoU by class, {best.label} over the student alone", headings, rows, description)


def class_table(study: Study, labels: Sequence[str]) -> list[tuple[str, list[float | None]]]:
    """The IoU of every class.

    Args:
        study: Has the IoU of the runs.
        labels: Of the networks, "teacher" among them.

    Returns:
        Each class with its mean IoU over the seeds of each label, in percent; None where it is absent.
    """
    columns = [_mean_iou(study, label) for label in labels]
    return [(name, [values[index] for values in columns]) for index, name in enumerate(study.classes)]


def _mean_iou(study: Study, label: str) -> list[float | None]:
    if label == "teacher":
        return [None] * len(study.classes) if study.teacher is None else list(study.teacher.iou)
    runs = [row.iou for row in study.outcomes if row.label == label]
    means: list[float | None] = []
    for index in range(len(study.classes)):
        values = [value for iou in runs if (value := iou[index]) is not None]
        means.append(sum(values) / len(values) if values else None)
    return means


def _of_gains(title: str, gains: Sequence[tuple[Summary, Gain | None]]) -> Bars | None:
    rows = [(row.label, gain.mean, gain, (ends(gain),)) for row, gain in gains if gain is not None]
    return _bars(title, ("method", "gain", "95 % interval"), rows) if rows else None


def _bars(
    title: str,
    headings: tuple[str, ...],
    rows: Sequence[tuple[str, float, Gain | None, tuple[str, ...]]],
    description: str = "",
) -> Bars:
    ends = [value for _, value, _, _ in rows]
    ends += [end for _, _, gain, _ in rows if gain is not None for end in (gain.low, gain.high) if end is not None]
    axis = scale(ends, 0, 100, zero=True, tight=True)
    zero = axis.position(0)
    bars = []
    for name, value, gain, cells in rows:
        at = axis.position(value)
        whisker = None
        if gain is not None and gain.low is not None and gain.high is not None:
            low, high = axis.position(gain.low), axis.position(gain.high)
            whisker = low, round(high - low, 2)
        width = round(abs(at - zero), 2)
        bars.append(Bar(name, signed(value), min(at, zero), width, value < 0, whisker, cells))
    return Bars(title, headings, tuple(bars), zero, description)
