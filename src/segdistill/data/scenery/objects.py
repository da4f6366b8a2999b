"""The objects of a scene, each drawn by one function: cars, persons, trees, poles, the camera car's bonnet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from segdistill.core.classes import IGNORE_INDEX
from segdistill.data.scenery.painter import Painter
from segdistill.data.scenery.shapes import circle, ellipse, faces_camera, part_of, rectangle
from segdistill.data.scenery.world import CAR, PERSON, POLE, TREE, Color, Point

# Length, width, belt line and roof height in metres; then where the cabin starts and ends, at its foot and roof, as
# fractions of the length from the rear. What is listed twice is seen more often.
_SALOON = (4.4, 1.8, 0.88, 1.45, (0.08, 0.22, 0.58, 0.76))
_HATCHBACK = (3.8, 1.75, 0.90, 1.55, (0.00, 0.10, 0.60, 0.80))
_OFF_ROADER = (4.6, 1.9, 1.05, 1.75, (0.00, 0.06, 0.62, 0.78))
_VAN = (5.2, 2.0, 1.15, 2.20, (0.00, 0.02, 0.80, 0.95))
_BUS = (9.5, 2.5, 1.20, 3.00, (0.00, 0.01, 0.98, 1.00))
_CARS = (_SALOON,) * 6 + (_HATCHBACK,) * 6 + (_OFF_ROADER,) * 3 + (_VAN,) * 2 + (_BUS,)
_LEAVES = ((52, 92, 38), (52, 92, 38), (88, 112, 48), (88, 112, 48), (44, 70, 52), (150, 96, 40), (110, 60, 45))


def draw_car(painter: Painter, rng: Generator, x: float, z: float, yaw: float) -> None:
    """Draw a car: a body and a cabin, both frustums, of which the faces that look at the camera are drawn.

    Args:
        painter: of the scene.
        rng: what the kind of car and its looks are drawn from.
        x: where its middle stands, in metres.
        z: likewise.
        yaw: in radians; 0 drives away from the camera.
    """
    length, width, belt, roof, cabin = _CARS[rng.integers(len(_CARS))]
    paint, mirror = next(painter.paints), rng.uniform(0.15, 0.8)
    sin, cos = math.sin(yaw), math.cos(yaw)
    painter.begin(CAR, x, z, bordered=rng.random() < 0.6)

    def place(along: float, across: float, up: float) -> Point:
        return painter.camera.project(x + along * sin + across * cos, up, z + along * cos - across * sin)

    def faces(ends: Sequence[float], low: float, high: float, taper: float) -> list[tuple[str, list[Point]]]:
        """The visible faces of a frustum, each from its lower left corner, counter-clockwise as seen from outside."""
        (back, back_top, front_top, front), w = ((end - 0.5) * length for end in ends), width / 2
        a, b, c, d = place(back, -w, low), place(back, w, low), place(front, w, low), place(front, -w, low)
        w -= taper
        e, f = place(back_top, -w, high), place(back_top, w, high)
        g, h = place(front_top, w, high), place(front_top, -w, high)
        named = {
            "rear": [a, b, f, e],
            "front": [c, d, h, g],
            "right": [b, c, g, f],
            "left": [d, a, e, h],
            "top": [e, f, g, h],
        }
        return [(name, face) for name, face in named.items() if faces_camera(face)]

    bright = {"rear": 0.85, "front": 0.85, "right": 0.75, "left": 0.75, "top": 1.15}
    bright["right" if painter.light.side * cos > 0 else "left"] = 1.0
    for name, face in faces((0.0, 0.01, 0.99, 1.0), 0.22, belt, 0.05):
        painter.polygon(face, paint, bright[name])
        if name in ("left", "right"):
            for middle in (-0.31 * length, 0.3 * length):
                for radius, grey in ((0.35, 22), (0.18, 120)):
                    side = width / 2 if name == "right" else -width / 2
                    wheel = [place(along, side, up) for along, up in ellipse(middle, 0.34, radius, radius, 10)]
                    painter.polygon(wheel, (grey, grey, grey))
        elif name != "top":
            painter.polygon(part_of(face, 0, -0.2, 1, 0.2), (28, 28, 30))
            for edge in (0.04, 0.8):
                painter.polygon(
                    part_of(face, edge, 0.5, edge + 0.16, 0.75), (190, 25, 25) if name == "rear" else (240, 240, 215)
                )
            painter.polygon(part_of(face, 0.38, 0.3, 0.62, 0.48), (215, 215, 205))
    for name, face in faces(cabin, belt, roof, 0.18):
        painter.polygon(face, paint, bright[name])
        panes = {"top": (), "left": ((0.07, 0.48), (0.54, 0.93)), "right": ((0.07, 0.48), (0.54, 0.93))}
        for first, last in panes.get(name, ((0.08, 0.92),)):
            painter.polygon(part_of(face, first, 0.12, last, 0.85), painter.haze, mirror)


def draw_person(painter: Painter, rng: Generator, x: float, z: float) -> None:
    """Draw a person: legs and arms in mid-stride, a torso or a coat, a head with hair; children are smaller.

    Args:
        painter: of the scene.
        rng: what looks and pose are drawn from.
        x: where the feet stand, in metres.
        z: likewise.
    """
    tall = rng.uniform(1.0, 1.3) if rng.random() < 0.15 else rng.uniform(1.55, 1.95)
    step, swing, hem = rng.uniform(-0.16, 0.16), rng.uniform(-0.08, 0.08), (0.46, 0.46, 0.46, 0.3)[rng.integers(4)]
    coat, trousers, bag = (next(painter.paints) for _ in range(3))
    painter.begin(PERSON, x, z, bordered=rng.random() < 0.5)
    painter.scale *= tall  # from here on, heights are fractions of the person's own

    def limb(top: Point, end: Point, thick: float, color: Color, bright: float = 1.0) -> None:
        (x0, y0), (x1, y1) = top, end
        painter.shape([(x0 - thick, y0), (x0 + thick, y0), (x1 + thick, y1), (x1 - thick, y1)], color, bright)

    for side in (-1, 1):
        limb((side * 0.05, 0.5), (side * (0.035 + step), 0.0), 0.045, trousers, 0.9 + 0.1 * side)
        limb((side * 0.12, 0.8), (side * 0.14 + swing, 0.46), 0.03, coat, 0.8)
    painter.shape([(-0.09, hem), (0.09, hem), (0.14, 0.8), (0.06, 0.85), (-0.06, 0.85), (-0.14, 0.8)], coat)
    painter.shape(ellipse(0, 0.92, 0.058, 0.078, 9), (60, 40, 25), rng.uniform(0.3, 3.2))
    painter.shape(ellipse(0, 0.905, 0.046, 0.045, 7), (232, 190, 160), rng.uniform(0.35, 1.0))
    if rng.random() < 0.35:
        painter.shape(rectangle(0.09, 0.4, 0.21, 0.56), bag)


def draw_tree(painter: Painter, rng: Generator, x: float, z: float) -> None:
    """Draw a tree: a trunk and a crown of ragged blobs; leaves are dots of several tones, with a few gaps of sky.

    Args:
        painter: of the scene.
        rng: what its form and color are drawn from.
        x: where it stands, in metres.
        z: likewise.
    """
    high, radius, thick, lean = (
        rng.uniform(1.8, 3.2),
        rng.uniform(1.1, 2.2),
        rng.uniform(0.1, 0.2),
        rng.uniform(-0.3, 0.3),
    )
    leaf, bright = _LEAVES[rng.integers(len(_LEAVES))], rng.uniform(0.6, 1.25)
    painter.begin(TREE, x, z, bordered=rng.random() < 0.5)
    crown = high + 0.8 * radius
    painter.shape([(-thick, 0), (thick, 0), (lean + 0.7 * thick, crown), (lean - 0.7 * thick, crown)], (75, 60, 48))
    outlines = radius * 0.62 * rng.uniform(0.78, 1.12, (6, 14))
    angles, aways = np.arange(6) * 1.05 + rng.uniform(-0.4, 0.4, 6), 0.55 * radius * rng.uniform(0.6, 1.2, 6)
    for outline, angle, away in zip(outlines.tolist(), angles.tolist(), aways.tolist(), strict=True):
        blob = zip(circle(14, 0.0), outline, strict=True)
        to_x, to_y = lean + away * math.cos(angle), crown + away * math.sin(angle)
        light = 0.85 + 0.25 * math.sin(angle) + 0.12 * painter.light.side * math.cos(angle)
        painter.shape([(to_x + dx * r, to_y + dy * r) for (dx, dy), r in blob], leaf, bright * light)
    dots = min(500, 8 + int(2500 * (radius / z) ** 2))
    for tone, share in ((0.55, 1.0), (1.35, 1.0), (1.7, 0.4), (0.0, 0.15)):
        turn, away = rng.uniform(0, 2 * np.pi, int(dots * share)), radius * np.sqrt(rng.random(int(dots * share)))
        at = zip((lean + np.cos(turn) * away).tolist(), (crown + np.sin(turn) * away).tolist(), strict=True)
        ink = painter.ink(leaf, bright * tone) if tone else painter.ink(painter.haze)
        painter.pen.point(painter.screen(at), ink)


def draw_lamp(painter: Painter, rng: Generator, x: float, z: float) -> None:
    """Draw a street lamp whose arm reaches over the road.

    Args:
        painter: of the scene.
        rng: what its height and reach are drawn from.
        x: where it stands, in metres.
        z: likewise.
    """
    high, reach, grey = rng.uniform(5, 8), rng.uniform(0.8, 1.8) * (-1 if x > 0 else 1), next(painter.paints)
    painter.begin(POLE, x, z)
    painter.post(0, high, 0.16, grey)
    painter.shape([(0, high), (reach, high + 0.06), (reach, high + 0.2), (0, high + 0.14)], grey)
    lit = painter.light.lamps > 0.2
    painter.shape(rectangle(0.75 * reach, high, 1.25 * reach, high + 0.22), (250, 235, 180) if lit else grey)


def draw_sign(painter: Painter, rng: Generator, x: float, z: float) -> None:
    """Draw a traffic sign: round, triangular or square, with a rim.

    Args:
        painter: of the scene.
        rng: what its form and colors are drawn from.
        x: where it stands, in metres.
        z: likewise.
    """
    high, size = rng.uniform(2.2, 2.8), rng.uniform(0.32, 0.5)
    corners, turn = ((12, 0.0), (3, math.pi / 2), (4, math.pi / 4))[rng.integers(3)]
    rim = ((200, 30, 35), (30, 70, 170), (225, 190, 40))[rng.integers(3)]
    face = ((235, 235, 230), (60, 110, 210), (240, 240, 235))[rng.integers(3)]
    painter.begin(POLE, x, z)
    painter.post(0, high, 0.11, (130, 132, 135))
    painter.shape(ellipse(0, high, size, size, corners, turn), rim)
    painter.shape(ellipse(0, high, 0.68 * size, 0.68 * size, corners, turn), face)


def draw_traffic_light(painter: Painter, rng: Generator, x: float, z: float) -> None:
    """Draw a traffic light: a post with a box of three lamps, one of them on.

    Args:
        painter: of the scene.
        rng: what tells the lamp that is on.
        x: where it stands, in metres.
        z: likewise.
    """
    painter.begin(POLE, x, z)
    painter.post(0, 3.6, 0.15, (60, 62, 60))
    painter.shape(rectangle(-0.2, 2.6, 0.2, 3.6), (30, 32, 30))
    on = int(rng.integers(3))
    for lamp, color in enumerate(((40, 200, 90), (240, 180, 40), (230, 40, 35))):
        painter.shape(ellipse(0, 2.78 + 0.32 * lamp, 0.13, 0.13, 8), color, 1.0 if lamp == on else 0.25)


def draw_bonnet(painter: Painter, rng: Generator, height: int, width: int) -> None:
    """Draw the bonnet of the car that carries the camera: void, as in driving data sets.

    Args:
        painter: of the scene.
        rng: what its form is drawn from.
        height: of the drawing, in pixels.
        width: of the drawing, in pixels.
    """
    painter.begin(IGNORE_INDEX, 0.0, 0.0)
    rise, middle = height * rng.uniform(0.05, 0.1), width * rng.uniform(0.4, 0.6)
    painter.polygon(ellipse(middle, height, 0.6 * width, rise, 40), next(painter.paints), 0.6)
