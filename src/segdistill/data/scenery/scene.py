"""A whole scene: what stands where, and the picture the camera takes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from segdistill.data.scenery.backdrop import Backdrop
from segdistill.data.scenery.objects import (
    draw_bonnet,
    draw_car,
    draw_lamp,
    draw_person,
    draw_sign,
    draw_traffic_light,
    draw_tree,
)
from segdistill.data.scenery.painter import Painter
from segdistill.data.scenery.world import OVERSAMPLING, Camera, Point, Street, make_light, make_row


def render(rng: Generator, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one scene; all of it comes from `rng`.

    Args:
        rng: what the scene is drawn from.
        height: H, in pixels.
        width: W, in pixels.

    Returns:
        RGB image uint8 (H,W,3) and label uint8 (H,W).
    """
    height, width = height * OVERSAMPLING, width * OVERSAMPLING  # of the drawing
    end = rng.uniform(45, 110)
    corner = rng.uniform(10, 32) if rng.random() < 0.5 else end + 50
    street = Street(rng.uniform(4.6, 7.0), rng.uniform(2.4, 5.5), end, corner, corner + rng.uniform(6, 10))
    camera = Camera(
        focal=height * rng.uniform(0.85, 1.25),
        horizon=height * rng.uniform(0.36, 0.54),
        vanish=width * rng.uniform(0.3, 0.7),
        x=rng.uniform(-1.0, 1.0) * street.half,
        eye=rng.uniform(1.3, 2.3),
    )
    light = make_light(rng)
    left, right = make_row(rng, street), make_row(rng, street)
    backdrop = Backdrop(rng, height, width, camera, light)
    backdrop.ground(rng, street, right if light.side > 0 else left)
    if rng.random() < 0.6:
        backdrop.gable(left, len(left.start) - 1, -street.wall - 30, street.wall + 30)
    backdrop.walls(left, street, -1)
    backdrop.walls(right, street, 1)
    painter = Painter(rng, backdrop)
    things = _traffic(rng, street) + _furniture(rng, street) + _crowd(rng, street)
    # What is farther would be specks, and what is close ahead would hide the street.
    things = [thing for thing in things if thing.z < 50 and (thing.z > 8 or abs(thing.x - camera.x) > 2.3)]
    for thing in things:
        painter.shadow(thing.x - light.side * thing.shadow[0] * light.sun, thing.z, *thing.shadow, 0.2 + light.sun / 2)
    for thing in sorted(things, key=lambda thing: -thing.z):
        thing.draw(painter, rng, thing.x, thing.z)
    if rng.random() < 0.25:
        draw_bonnet(painter, rng, height, width)
    return _develop(rng, painter.image), painter.label()


@dataclass(frozen=True)
class _Thing:
    """Something that stands on the ground. `shadow` is the half width and half depth of its shadow."""

    draw: Callable[[Painter, Generator, float, float], None]
    x: float
    z: float
    shadow: tuple[float, float]


def _car(x: float, z: float, yaw: float) -> _Thing:
    shadow = (1.15, 2.4) if abs(math.cos(yaw)) > 0.5 else (2.4, 1.15)
    return _Thing(lambda painter, rng, x, z: draw_car(painter, rng, x, z, yaw), x, z, shadow)


def _traffic(rng: Generator, street: Street) -> list[_Thing]:
    """Cars at both kerbs, in both lanes and in the side street."""
    things: list[_Thing] = []
    for side, ahead in ((-1, math.pi), (1, 0.0)):
        parked, z = rng.uniform(0, 0.75), rng.uniform(1, 8)
        while z < street.end - 4:
            if rng.random() < parked and not street.crossed(z, 5):
                things.append(_car(side * (street.half - 1.15), z, ahead + rng.normal(0, 0.03)))
            z += rng.uniform(6, 8)
        for z in rng.uniform(9, 50, rng.integers(0, 3)).tolist():
            things.append(_car(side * rng.uniform(1.5, 1.9), z, ahead))
    for x in rng.uniform(-12, 12, rng.integers(0, 3)).tolist():
        turn = 1 if rng.random() < 0.5 else -1
        things.append(_car(x, street.near + 2 if turn > 0 else street.far - 2, turn * math.pi / 2))
    return things


def _furniture(rng: Generator, street: Street) -> list[_Thing]:
    """Trees and lamps in line along the kerbs, and signs and traffic lights before the side street."""
    things: list[_Thing] = []
    for side in (-1, 1):
        kerb = side * (street.half + 0.5)
        for draw, gap, chance, shadow in ((draw_tree, (7, 13), 0.55, 1.6), (draw_lamp, (11, 20), 0.7, 0.25)):
            z, planted = rng.uniform(5, 12), rng.random() < chance
            while planted and z < street.end:
                if not street.crossed(z, 1):
                    things.append(_Thing(draw, kerb + rng.uniform(-0.2, 0.3), z, (shadow, shadow)))
                z += rng.uniform(*gap)
        for z in rng.uniform(4.5, 25, rng.integers(0, 3)).tolist():
            if not street.crossed(z, 1):
                things.append(_Thing(draw_sign, kerb, z, (0.3, 0.1)))
        if rng.random() < 0.7:
            things.append(_Thing(draw_traffic_light, kerb, street.near - 1.0, (0.2, 0.1)))
    return things


def _crowd(rng: Generator, street: Street) -> list[_Thing]:
    """Pedestrians alone or in pairs on the pavements, now and then on the road, and on the zebra."""
    spots: list[Point] = []
    for _ in range(rng.integers(3, 8)):
        side, z = (-1 if rng.random() < 0.5 else 1), 5.5 + rng.exponential(8)
        x = side * (street.half + rng.uniform(0.9, street.walk - 0.4))
        if rng.random() < 0.15:
            x = rng.uniform(-street.half, street.half)
        spots += [(x, z)] if rng.random() < 0.65 else [(x, z), (x + 0.7, z + rng.uniform(-0.5, 0.5))]
    if street.near > 8:
        zebra = rng.uniform(-street.half, street.half, rng.integers(0, 4)).tolist()
        spots += [(x, street.near - rng.uniform(2, 4)) for x in zebra]
    return [_Thing(draw_person, x, z, (0.35, 0.2)) for x, z in spots]


def _develop(rng: Generator, image: Image.Image) -> NDArray[np.uint8]:
    """What lens and sensor do: average down, blur, color cast, contrast, exposure, noise."""
    soft = image.reduce(OVERSAMPLING).filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 0.7)))
    tint, contrast = rng.normal(1, 0.05, 3).astype(np.float32), rng.uniform(0.75, 1.15)
    noise = rng.standard_normal((soft.height, soft.width, 3), np.float32) * rng.uniform(2, 9)
    developed = (np.asarray(soft, np.float32) * tint - 118) * contrast + noise + (118 + rng.uniform(-18, 12))
    return developed.clip(0, 255).astype(np.uint8)
