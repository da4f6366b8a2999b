"""Polygons as lists of corners, whatever plane they lie in."""

from __future__ import annotations

import math
from functools import cache

from segdistill.data.scenery.world import Point


@cache
def circle(corners: int, turn: float) -> list[Point]:
    """A regular polygon on the unit circle.

    Args:
        corners: how many.
        turn: the angle of the first one, in radians.

    Returns:
        The corners, counter-clockwise.
    """
    angles = [turn + 2 * math.pi * i / corners for i in range(corners)]
    return [(math.cos(angle), math.sin(angle)) for angle in angles]


def ellipse(x: float, y: float, wide: float, high: float, corners: int, turn: float = 0.0) -> list[Point]:
    """A polygon on an ellipse.

    Args:
        x: the middle.
        y: likewise.
        wide: the half axis along x.
        high: the half axis along y.
        corners: how many.
        turn: the angle of the first one, in radians.

    Returns:
        The corners, counter-clockwise.
    """
    return [(x + wide * cos, y + high * sin) for cos, sin in circle(corners, turn)]


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list[Point]:
    """The corners of a rectangle.

    Args:
        x0: the left side.
        y0: the lower side.
        x1: the right side.
        y1: the upper side.

    Returns:
        Four corners, from (x0, y0) along y0 first.
    """
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def part_of(face: list[Point], x0: float, y0: float, x1: float, y1: float) -> list[Point]:
    """A part of a four-cornered face, in its perspective but for foreshortening.

    Args:
        face: its corners, in the order of `rectangle`.
        x0: where the part begins, as a fraction of the face's width.
        y0: likewise, of its height.
        x1: where it ends.
        y1: likewise.

    Returns:
        Four corners in the same order.
    """
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = face

    def at(u: float, v: float) -> Point:
        w = 1 - u
        return (ax * w + bx * u) * (1 - v) + (dx * w + cx * u) * v, (ay * w + by * u) * (1 - v) + (dy * w + cy * u) * v

    return [at(u, v) for u, v in rectangle(x0, y0, x1, y1)]


def faces_camera(face: list[Point]) -> bool:
    """Whether a face of a solid is seen from outside.

    Args:
        face: its four corners on screen, counter-clockwise as seen from outside; y points down.

    Returns:
        Whether they run counter-clockwise on screen.
    """
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = face
    return (cx - ax) * (dy - by) - (cy - ay) * (dx - bx) < 0
