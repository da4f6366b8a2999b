"""The world of a scene: camera, light, street and buildings, in metres.

X points to the right, Y up from the ground, Z ahead of the camera.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SKY, BUILDING, ROAD, SIDEWALK, TREE, POLE, CAR, PERSON = range(8)
"""The classes, in the order of `data/labels/streets.yaml`."""

OVERSAMPLING = 2
"""Scenes are drawn this many times larger; then the image is averaged down, the label picked from it."""

NEAR = 0.8
"""Nothing is projected from closer than this many metres."""

Array = NDArray[np.float32]
Point = tuple[float, float]
Color = Sequence[float]
"""RGB, 0 to 255."""


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera; lengths on screen are in pixels of the enlarged drawing.

    Attributes:
        focal: the focal length, in pixels.
        horizon: the row of the horizon.
        vanish: the column in which the street vanishes.
        x: where it stands, in metres from the middle of the road.
        eye: its height above the ground, in metres.
    """

    focal: float
    horizon: float
    vanish: float
    x: float
    eye: float

    def project(self, x: float, y: float, z: float) -> Point:
        """A world point on screen. Points behind the near plane slide onto it along Z.

        Args:
            x: metres to the right.
            y: metres above the ground.
            z: metres ahead.

        Returns:
            Column and row, in pixels.
        """
        scale = self.focal / max(z, NEAR)
        return self.vanish + (x - self.x) * scale, self.horizon + (self.eye - y) * scale


@dataclass(frozen=True)
class Light:
    """Time of day and weather.

    Attributes:
        zenith: the color of the sky above.
        haze: the color of the sky, and of all distant things, at the horizon.
        tint: what the colors of lit things are multiplied by.
        sun: the strength of cast shadows, 0 when overcast.
        side: the side the sun stands on, -1 left, 1 right.
        sight: metres at which haze has taken 63 % of a color.
        lamps: the share of windows with a light on.
    """

    zenith: Array
    haze: Array
    tint: Array
    sun: float
    side: int
    sight: float
    lamps: float

    def shade(self, color: Array, z: Array) -> Array:
        """Surface colors as they are seen from a distance.

        Args:
            color: (...,3), RGB.
            z: (...), in metres.

        Returns:
            (...,3), RGB.
        """
        clear = np.exp(-z / np.float32(self.sight))[..., None]
        shaded: Array = color * (self.tint * clear) + self.haze * (1 - clear)
        return shaded


@dataclass(frozen=True)
class Street:
    """The ground plan: road, a pavement on each side, then walls; in metres.

    Attributes:
        half: half the width of the road.
        walk: the width of a pavement.
        end: the Z at which the walls end.
        near: the Z at which the side street begins; beyond `end` if there is none.
        far: the Z at which it ends.
    """

    half: float
    walk: float
    end: float
    near: float
    far: float

    @property
    def wall(self) -> float:
        """Metres from the middle of the road to the walls."""
        return self.half + self.walk

    def crossed(self, z: float, margin: float) -> bool:
        """Whether a thing would stand in the side street.

        Args:
            z: of the thing, in metres.
            margin: metres from the side street that count as inside.

        Returns:
            True inside.
        """
        return self.near - margin < z < self.far + margin


@dataclass(frozen=True)
class Row:
    """The n buildings along one side, from near to far; the last closes the street at its end. Lengths in metres.

    Attributes:
        start: (n,) the Z at which each begins.
        stop: (n,) the Z at which it ends.
        height: (n,) of its roof.
        bay: (n,) from window to window.
        storey: (n,) from floor to floor.
        window: (n,2) the share of a bay's width and of a storey's height that is glass.
        wall: (n,3) colors.
        trim: (n,3) colors of corners, roof edges and shop fronts.
        poster: (n,3) left edge, lower edge and size; size 0 for none.
        panes: (128,) random numbers that tell one window from another.
    """

    start: Array
    stop: Array
    height: Array
    bay: Array
    storey: Array
    window: Array
    wall: Array
    trim: Array
    poster: Array
    panes: Array


def colors(rng: Generator, count: int) -> Array:
    """The palette of walls, cars and clothes: mostly greys and browns, some vivid, so that color is no clue.

    Args:
        rng: what they are drawn from.
        count: how many.

    Returns:
        (count,3), RGB, 0 to 255.
    """
    vivid = np.where(rng.random((count, 1)) < 0.35, 0.75, 0.2) * rng.uniform(0.3, 1.0, (count, 1))
    hue = rng.exponential(1.0, (count, 3))
    hue /= hue.sum(1, keepdims=True)
    palette: Array = (rng.uniform(35, 235, (count, 1)) * (1 - 1.3 * vivid * hue).clip(0.1)).astype(np.float32)
    return palette


def make_light(rng: Generator) -> Light:
    """Day, overcast or dusk, at random strength.

    Args:
        rng: what it is drawn from.

    Returns:
        The light.
    """
    day = ((70, 125, 205), (200, 215, 230), (1.0, 0.98, 0.94), rng.uniform(0.35, 0.6), 0.05)
    overcast = ((165, 170, 178), (205, 207, 208), (0.8, 0.82, 0.85), 0.0, 0.1)
    dusk = ((75, 80, 130), (235, 165, 125), (0.66, 0.55, 0.54), rng.uniform(0.1, 0.3), 0.35)
    zenith, haze, tint, sun, lamps = (day, day, day, overcast, overcast, dusk)[rng.integers(6)]
    level = rng.uniform(0.8, 1.1)
    return Light(
        zenith=(np.array(zenith) * level + rng.uniform(-15, 15, 3)).astype(np.float32),
        haze=(np.array(haze) + rng.uniform(-15, 15, 3)).astype(np.float32),
        tint=(np.array(tint) * level).astype(np.float32),
        sun=sun,
        side=1 if rng.random() < 0.5 else -1,
        sight=math.exp(rng.uniform(math.log(60), math.log(400))),
        lamps=lamps,
    )


def make_row(rng: Generator, street: Street) -> Row:
    """Random buildings along one side of a street, here and there with a gap; none stands in the side street.

    Args:
        rng: what they are drawn from.
        street: the ground plan.

    Returns:
        The buildings.
    """
    spans: list[tuple[float, float]] = []
    near, far = street.near - street.walk, street.far + street.walk
    z = rng.uniform(-12, 0)
    while z < street.end:
        stop = z + rng.uniform(7, 20)
        if stop > near and z < far:  # leave the side street open
            stop = near
        if stop - z > 3:
            spans.append((z, stop))
        z = stop if stop < near or z >= far else far
        z += rng.uniform(1.5, 9) if rng.random() < 0.25 else 0.0
    spans.append((street.end, street.end))
    n = len(spans)
    return Row(
        start=np.array([start for start, _ in spans], np.float32),
        stop=np.array([stop for _, stop in spans], np.float32),
        height=np.maximum(3.5, rng.uniform(5, 16) * rng.uniform(0.5, 1.5, n)).astype(np.float32),
        bay=rng.uniform(1.6, 3.6, n).astype(np.float32),
        storey=rng.uniform(2.7, 3.6, n).astype(np.float32),
        window=rng.uniform((0.3, 0.35), (0.85, 0.75), (n, 2)).astype(np.float32),
        wall=colors(rng, n),
        trim=colors(rng, n),
        poster=(rng.uniform((1, 2, 2), (4, 5, 5), (n, 3)) * (1, 1, rng.random() < 0.5)).astype(np.float32),
        panes=rng.random(128).astype(np.float32),
    )
