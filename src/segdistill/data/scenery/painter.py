"""The painter of objects: every polygon at once on the image and on the label."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import cycle

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segdistill.core.classes import IGNORE_INDEX
from segdistill.data.scenery.backdrop import Backdrop
from segdistill.data.scenery.shapes import ellipse
from segdistill.data.scenery.world import NEAR, OVERSAMPLING, PERSON, POLE, Color, Point, colors


class Painter:
    """Draws every shape twice: shaded on the image, and as an object number on the label.

    Numbers 0 to 7 are the backdrop's classes; each object takes the next one, so that every object has its outline.

    Args:
        rng: what the colors of objects are drawn from.
        backdrop: what the objects stand in front of.
    """

    def __init__(self, rng: Generator, backdrop: Backdrop) -> None:
        self.camera, self.light = backdrop.camera, backdrop.light
        self.image = Image.fromarray(backdrop.image.clip(0, 255).astype(np.uint8))
        self.numbers = Image.fromarray(backdrop.classes)
        self.pen, self.glaze = ImageDraw.Draw(self.image), ImageDraw.Draw(self.image, "RGBA")
        self.stencil = ImageDraw.Draw(self.numbers)
        self.paints: Iterator[Color] = cycle(colors(rng, 200).tolist())
        self.class_of = list(range(8))
        self.bordered: list[int] = []
        self.haze: list[float] = self.light.haze.tolist()

    def begin(self, label: int, x: float, z: float, bordered: bool = False) -> None:
        """Begin an object, to which all shapes up to the next `begin` belong.

        Args:
            label: its class.
            x: where it stands, in metres.
            z: likewise.
            bordered: whether a band of void runs around it.
        """
        if bordered:
            self.bordered.append(len(self.class_of))
        self.class_of.append(label)
        self.scale = self.camera.focal / max(z, NEAR)
        self.foot = self.camera.project(x, 0, z)
        clear = math.exp(-z / self.light.sight)
        self.gain, self.fog = (self.light.tint * clear).tolist(), (self.light.haze * (1 - clear)).tolist()

    def ink(self, color: Color, bright: float = 1.0) -> tuple[int, int, int]:
        """A color as the current object shows it: lit, and hazy with distance.

        Args:
            color: RGB, 0 to 255.
            bright: a factor on it.

        Returns:
            RGB.
        """
        (r, g, b), (gain_r, gain_g, gain_b), (fog_r, fog_g, fog_b) = color, self.gain, self.fog
        return int(r * bright * gain_r + fog_r), int(g * bright * gain_g + fog_g), int(b * bright * gain_b + fog_b)

    def screen(self, points: Iterable[Point]) -> list[Point]:
        """Where points of the current object are on screen.

        Args:
            points: metres to the right of its foot and above it.

        Returns:
            Pixels to the right and downwards.
        """
        (u, v), scale = self.foot, self.scale
        return [(u + x * scale, v - y * scale) for x, y in points]

    def shape(self, points: Iterable[Point], color: Color, bright: float = 1.0) -> None:
        """Draw a polygon that faces the camera.

        Args:
            points: its corners, metres to the right of the object's foot and above it.
            color: RGB, 0 to 255.
            bright: a factor on it.
        """
        self.polygon(self.screen(points), color, bright)

    def polygon(self, points: list[Point], color: Color, bright: float = 1.0) -> None:
        """Draw a polygon of the current object.

        Args:
            points: its corners, in pixels.
            color: RGB, 0 to 255.
            bright: a factor on it.
        """
        self.pen.polygon(points, self.ink(color, bright))
        self.stencil.polygon(points, len(self.class_of) - 1)

    def post(self, low: float, high: float, thickness: float, color: Color) -> None:
        """Draw an upright bar, never thinner than a pixel of the label, however far away.

        Args:
            low: metres from the ground to its lower end.
            high: metres to its upper end.
            thickness: in metres.
            color: RGB, 0 to 255.
        """
        (u, bottom), (_, top) = self.screen([(0, low), (0, high)])
        for pen, ink, least in ((self.pen, self.ink(color), 1), (self.stencil, len(self.class_of) - 1, OVERSAMPLING)):
            count = max(least, round(thickness * self.scale))
            left = round(u - (count - 1) / 2)
            pen.rectangle((left, round(top), left + count - 1, round(bottom)), ink)

    def shadow(self, x: float, z: float, wide: float, deep: float, strength: float) -> None:
        """Darken an ellipse on the ground; it has no part in the label.

        Args:
            x: its middle, in metres.
            z: likewise.
            wide: half its width, in metres.
            deep: half its depth, in metres.
            strength: from 0 to 1.
        """
        points = [self.camera.project(px, 0, pz) for px, pz in ellipse(x, z, wide, deep, 10)]
        self.glaze.polygon(points, (0, 0, 10, int(255 * strength)))

    def label(self) -> NDArray[np.uint8]:
        """Classes, with a band of void one pixel wide around each bordered object.

        The band lies outside the object and spares poles and persons, which it would wipe out.
        """
        numbers = np.asarray(self.numbers)[::OVERSAMPLING, ::OVERSAMPLING]
        classes: NDArray[np.uint8] = np.array(self.class_of, np.uint8)[numbers]
        marked = np.isin(numbers, self.bordered)
        around = marked.copy()
        around[1:] |= marked[:-1]
        around[:-1] |= marked[1:]
        around[:, 1:] |= marked[:, :-1]
        around[:, :-1] |= marked[:, 1:]
        classes[around & ~marked & (classes != POLE) & (classes != PERSON)] = IGNORE_INDEX
        return classes
