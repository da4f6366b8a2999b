"""Accuracy against what an image costs: teacher, student alone and distilled students."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segdistill.reporting.numbers import points
from segdistill.reporting.page.curves import BOTTOM, LEFT, RIGHT, TOP
from segdistill.reporting.page.scales import Scale, scale
from segdistill.studies.result import ALONE, LONGER, TEACHER, NetworkCost, Study

_LINE = 13  # between two labels, in units of the viewBox
_CHARACTER = 6.2  # about the width of one
_LABELS = 14  # that a field's height has room for; the table names the others


@dataclass(frozen=True)
class Point:
    """A network, in units of the viewBox.

    Attributes:
        name: Its label in the study.
        shape: "teacher", "alone" or "distilled".
        x: Position of its cost.
        y: Position of its mean mIoU.
        spread: Positions of mean - std and mean + std; None for one seed.
        label: The text beside it; empty where there is no room.
        label_x: Where the text is.
        label_y: Where the text is.
        anchor: SVG's text-anchor.
    """

    name: str
    shape: str
    x: float
    y: float
    spread: tuple[float, float] | None
    label: str
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True)
class Scatter:
    """mIoU against a cost.

    Attributes:
        title: Of the figure.
        cost: Name of the x axis, as "milliseconds an image".
        x: The axis of costs.
        y: The axis of mIoU.
        points: The networks.
    """

    title: str
    cost: str
    x: Scale
    y: Scale
    points: tuple[Point, ...]


def scatters(study: Study) -> list[Scatter]:
    """mIoU against latency, and against the number of parameters.

    Args:
        study: What was found.

    Returns:
        Two figures.
    """
    return [
        _scatter(study, "mIoU against time", "milliseconds an image", lambda cost: cost.milliseconds),
        _scatter(study, "mIoU against size", "million parameters", lambda cost: cost.parameters / 1e6),
    ]


def _scatter(study: Study, title: str, unit: str, size: Callable[[NetworkCost], float]) -> Scatter:
    networks: list[tuple[str, str, float, float, float | None]] = []
    if study.teacher is not None:
        networks.append((TEACHER, "teacher", size(study.teacher_cost), study.teacher.miou, None))
    for row in study.summary:
        shape = "alone" if row.label in (ALONE, LONGER) else "distilled"
        networks.append((row.label, shape, size(study.cost(row.label)), row.miou.mean, row.miou.std))
    ends = [miou + sign * (std or 0.0) for _, _, _, miou, std in networks for sign in (-1, 1)]
    sizes = [size(study.cost(label)) for label in (TEACHER, ALONE, "student")]
    x = scale([0.0, *sizes], LEFT, RIGHT, zero=True, ticks=4)
    y = scale(ends, BOTTOM, TOP)
    networks.sort(key=lambda each: -each[3])
    return Scatter(title, unit, x, y, tuple(_points(networks, x, y)))


def _points(networks: Sequence[tuple[str, str, float, float, float | None]], x: Scale, y: Scale) -> list[Point]:
    """Points with their labels; students share their cost, so labels on a side are pushed apart from top to bottom."""
    made = []
    heights: dict[float, list[float]] = {}
    for _, _, cost, miou, _ in networks:
        heights.setdefault(cost, []).append(y.position(miou))
    labels_at = {cost: _apart(positions[:_LABELS]) for cost, positions in heights.items()}
    for name, shape, cost, miou, std in networks:
        at, label = x.position(cost), f"{_short(name)} {points(miou)}" if labels_at[cost] else ""
        right = at + 12 + _CHARACTER * len(label) <= RIGHT + 6
        made.append(
            Point(
                name=name,
                shape=shape,
                x=at,
                y=y.position(miou),
                spread=None if std is None else (y.position(miou - std), y.position(miou + std)),
                label=label,
                label_x=at + 12 if right else at - 12,
                label_y=labels_at[cost].pop(0) if label else 0.0,
                anchor="start" if right else "end",
            )
        )
    return made


def _apart(positions: Sequence[float]) -> list[float]:
    """The positions, top to bottom, moved so that neighbours are a line apart and none leaves the field."""
    moved: list[float] = []
    for position in positions:
        moved.append(max(position, moved[-1] + _LINE) if moved else max(position, TOP + 4))
    limit: float = BOTTOM - 2
    for index in range(len(moved) - 1, -1, -1):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - _LINE
    return [round(position, 2) for position in moved]


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:22]}…"
