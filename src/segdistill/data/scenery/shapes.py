"""Polygons as lists of corners, whatever plane they lie in."""

from __future__ import annotations

import math
from functools import cache

from segdistill.data.scenery.world import Point


@cache
def circle(corners: int, turn: float) -> list[Point]:
    """A regular polygon on the unit circle, its first corner at the angle `turn`."""
    angles = [turn + 2 * math.pi * i / corners for i in range(corners)]
    return [(math.cos(angle), math.sin(angle)) for angle in angles]


def ellipse(x: float, y: float, wide: float, high: float, corners: int, turn: float = 0.0) -> list[Point]:
    """A polygon on the ellipse around (x, y) with the half axes `wide` and `high`."""
    return [(x + wide * cos, y + high * sin) for cos, sin in circle(corners, turn)]


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list[Point]:
    """The four corners, from (x0, y0) along y0 first."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def part_of(face: list[Point], x0: float, y0: float, x1: float, y1: float) -> list[Point]:
    """The part of a four-cornered face between the given fractions of its width and height."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = face

    def at(u: float, v: float) -> Point:
        w = 1 - u
        return (ax * w + bx * u) * (1 - v) + (dx * w + cx * u) * v, (ay * w + by * u) * (1 - v) + (dy * w + cy * u) * v

    return [at(u, v) for u, v in rectangle(x0, y0, x1, y1)]


def faces_camera(face: list[Point]) -> bool:
    """Whether the corners run counter-clockwise on screen."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = face
    return (cx - ax) * (dy - by) - (cy - ay) * (dx - bx) < 0
