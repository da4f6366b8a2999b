"""Generated street scenes: a data set that needs no download, for demos, lessons and tests.

Every scene is a straight street seen by a pinhole camera. The world is measured in metres: X to the right, Y up
from the ground, Z ahead of the camera. Sky, ground and buildings are shaded per pixel with numpy; trees, poles, cars
and persons are polygons drawn from far to near, at once on the image and on the label.

Local colour says little about the class on purpose: buildings, cars and clothes share one palette, windows and
puddles mirror the sky, some walls and posters are green, and kerb, pavement and road are all grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from typing import Literal

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from segdistill.data.base import IGNORE_INDEX, Sample, SegmentationDataset, class_table
from segdistill.errors import DataError, nearest

SKY, BUILDING, ROAD, SIDEWALK, TREE, POLE, CAR, PERSON = range(8)

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Point = tuple[float, float]
Colour = Sequence[float]  # RGB, 0 to 255

_DEFAULT_COUNT = {"train": 600, "val": 100}
_MIN_SIDE = 32
_SS = 2  # Scenes are drawn this many times larger; then the image is averaged down, the label picked from it.
_NEAR = 0.8  # Nothing is projected from closer than this many metres.

# Length, width, belt line and roof height in metres; then where the cabin starts and ends, at its foot and roof, as
# fractions of the length from the rear. What is listed twice is seen more often.
_SALOON = (4.4, 1.8, 0.88, 1.45, (0.08, 0.22, 0.58, 0.76))
_HATCHBACK = (3.8, 1.75, 0.90, 1.55, (0.00, 0.10, 0.60, 0.80))
_OFF_ROADER = (4.6, 1.9, 1.05, 1.75, (0.00, 0.06, 0.62, 0.78))
_VAN = (5.2, 2.0, 1.15, 2.20, (0.00, 0.02, 0.80, 0.95))
_BUS = (9.5, 2.5, 1.20, 3.00, (0.00, 0.01, 0.98, 1.00))
_CARS = (_SALOON,) * 6 + (_HATCHBACK,) * 6 + (_OFF_ROADER,) * 3 + (_VAN,) * 2 + (_BUS,)
_LEAVES = ((52, 92, 38), (52, 92, 38), (88, 112, 48), (88, 112, 48), (44, 70, 52), (150, 96, 40), (110, 60, 45))


class Streets(SegmentationDataset):
    """`count` street scenes of `size` (H,W); scene i depends on nothing but seed, split, i and size."""

    classes = class_table("streets")

    def __init__(
        self,
        *,
        split: Literal["train", "val"] = "train",
        size: tuple[int, int] = (96, 128),
        count: int | None = None,
        seed: int = 0,
    ) -> None:
        if split not in _DEFAULT_COUNT:
            raise DataError(f"Streets has no split {split!r}.{nearest(str(split), _DEFAULT_COUNT)}")
        pair = isinstance(size, tuple | list) and len(size) == 2
        if not pair or any(not isinstance(side, int) or side < _MIN_SIDE for side in size):
            raise DataError(f"size is (height, width), two whole numbers of at least {_MIN_SIDE}; got {size!r}.")
        if count is not None and (not isinstance(count, int) or count < 1):
            raise DataError(f"count is the number of scenes, at least 1; got {count!r}.")
        if not isinstance(seed, int) or seed < 0:
            raise DataError(f"seed is a whole number, 0 or larger; got {seed!r}.")
        self.split, self.size, self.seed = split, (size[0], size[1]), seed
        self.count = _DEFAULT_COUNT[split] if count is None else count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(f"There is no scene {index}: the last of {self.count} is {self.count - 1}.")
        rng = np.random.default_rng([self.seed, list(_DEFAULT_COUNT).index(self.split), index])
        image, label = _render(rng, self.size[0] * _SS, self.size[1] * _SS)
        channels_first = np.ascontiguousarray(image.transpose(2, 0, 1))
        name = f"streets-{self.split}-{index:05d}"
        return Sample(torch.from_numpy(channels_first), torch.from_numpy(label), name)


# --- The world: camera, light, street, buildings --------------------------------------------------------------------


@dataclass(frozen=True)
class _Camera:
    """A level pinhole camera; lengths on screen are in pixels of the enlarged drawing."""

    focal: float
    horizon: float
    vanish: float  # the column in which the street vanishes
    x: float
    eye: float  # metres above the ground

    def project(self, x: float, y: float, z: float) -> Point:
        """A world point on screen. Points behind the near plane slide onto it along Z."""
        scale = self.focal / max(z, _NEAR)
        return self.vanish + (x - self.x) * scale, self.horizon + (self.eye - y) * scale


@dataclass(frozen=True)
class _Light:
    """Time of day and weather; `tint` multiplies the colours of what is lit."""

    zenith: Array
    haze: Array  # the colour of the sky and of all distant things at the horizon
    tint: Array
    sun: float  # strength of cast shadows, 0 when overcast
    side: int  # the side the sun stands on, -1 left, 1 right
    sight: float  # metres at which haze has taken 63 % of a colour
    lamps: float  # share of windows with a light on

    def shade(self, colour: Array, z: Array) -> Array:
        """Surface colours (...,3) as seen from `z` (...) metres away."""
        clear = np.exp(-z / np.float32(self.sight))[..., None]
        shaded: Array = colour * (self.tint * clear) + self.haze * (1 - clear)
        return shaded


@dataclass(frozen=True)
class _Street:
    """The ground plan: road from -half to half, a pavement on each side, then walls up to Z = `end`."""

    half: float
    walk: float
    end: float
    near: float  # the side street runs across from Z = near to far; beyond the end if there is none
    far: float

    @property
    def wall(self) -> float:
        return self.half + self.walk

    def crossed(self, z: float, margin: float) -> bool:
        return self.near - margin < z < self.far + margin


@dataclass(frozen=True)
class _Row:
    """The buildings along one side, from near to far, one entry each; the last closes the street at its end."""

    start: Array
    stop: Array
    height: Array
    bay: Array  # metres from window to window
    storey: Array
    window: Array  # (n,2): share of a bay's width and of a storey's height that is glass
    wall: Array  # (n,3) colours
    trim: Array  # (n,3) colours of corners, roof edges and shop fronts
    poster: Array  # (n,3): left edge, lower edge and size in metres; size 0 for none
    panes: Array  # random numbers that tell one window from another


def _colours(rng: Generator, count: int) -> Array:
    """The palette of walls, cars and clothes: mostly greys and browns, some vivid, so that colour is no clue."""
    vivid = np.where(rng.random((count, 1)) < 0.35, 0.75, 0.2) * rng.uniform(0.3, 1.0, (count, 1))
    hue = rng.exponential(1.0, (count, 3))
    hue /= hue.sum(1, keepdims=True)
    colours: Array = (rng.uniform(35, 235, (count, 1)) * (1 - 1.3 * vivid * hue).clip(0.1)).astype(np.float32)
    return colours


def _noise(rng: Generator, height: int, width: int, rows: int, columns: int) -> Array:
    """Smooth noise, mostly in -1 to 1: a small random grid blown up."""
    grid = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))


def _fraction(x: Array) -> Array:
    return x - np.floor(x)


def _make_light(rng: Generator) -> _Light:
    day = ((70, 125, 205), (200, 215, 230), (1.0, 0.98, 0.94), rng.uniform(0.35, 0.6), 0.05)
    overcast = ((165, 170, 178), (205, 207, 208), (0.8, 0.82, 0.85), 0.0, 0.1)
    dusk = ((75, 80, 130), (235, 165, 125), (0.66, 0.55, 0.54), rng.uniform(0.1, 0.3), 0.35)
    zenith, haze, tint, sun, lamps = (day, day, day, overcast, overcast, dusk)[rng.integers(6)]
    level = rng.uniform(0.8, 1.1)
    return _Light(
        zenith=(np.array(zenith) * level + rng.uniform(-15, 15, 3)).astype(np.float32),
        haze=(np.array(haze) + rng.uniform(-15, 15, 3)).astype(np.float32),
        tint=(np.array(tint) * level).astype(np.float32),
        sun=sun,
        side=1 if rng.random() < 0.5 else -1,
        sight=math.exp(rng.uniform(math.log(60), math.log(400))),
        lamps=lamps,
    )


def _make_row(rng: Generator, street: _Street) -> _Row:
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
    return _Row(
        start=np.array([start for start, _ in spans], np.float32),
        stop=np.array([stop for _, stop in spans], np.float32),
        height=np.maximum(3.5, rng.uniform(5, 16) * rng.uniform(0.5, 1.5, n)).astype(np.float32),
        bay=rng.uniform(1.6, 3.6, n).astype(np.float32),
        storey=rng.uniform(2.7, 3.6, n).astype(np.float32),
        window=rng.uniform((0.3, 0.35), (0.85, 0.75), (n, 2)).astype(np.float32),
        wall=_colours(rng, n),
        trim=_colours(rng, n),
        poster=(rng.uniform((1, 2, 2), (4, 5, 5), (n, 3)) * (1, 1, rng.random() < 0.5)).astype(np.float32),
        panes=rng.random(128).astype(np.float32),
    )


# --- The backdrop: sky, ground and buildings, pixel by pixel --------------------------------------------------------


class _Backdrop:
    """Image (float) and class map of everything that no object stands in front of.

    Walls line the street, and whatever stands between them is in front of them, so they never need depth sorting.
    """

    def __init__(self, rng: Generator, height: int, width: int, camera: _Camera, light: _Light) -> None:
        self.camera, self.light = camera, light
        self.rows, self.columns = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
        self.sky = self._sky(rng)  # kept for its reflections in windows and puddles
        self.image = self.sky.copy()
        self.classes = np.full(self.image.shape[:2], SKY, np.uint8)

    def _sky(self, rng: Generator) -> Array:
        """A gradient with clouds; smooth enough to be drawn small and doubled."""
        height, width = len(self.rows[::2]), len(self.columns[::2])
        low = np.clip(self.rows[::2] / self.camera.horizon, 0, 1)[:, None, None] ** 1.5
        clouds = _noise(rng, height, width, 6, 5) + 0.6 * _noise(rng, height, width, 20, 14)
        cover = np.clip(clouds * 0.9 + rng.uniform(-0.5, 0.4), 0, 1)[..., None] * rng.uniform(0.3, 1)
        clear = self.light.zenith * (1 - low) + self.light.haze * low
        white = (self.light.haze * 0.6 + 95) * (1.05 - 0.25 * low)
        sky: Array = (clear + (white - clear) * cover).astype(np.float32)
        return sky.repeat(2, 0).repeat(2, 1)

    def ground(self, rng: Generator, street: _Street, shadows: _Row) -> None:
        """Road and pavement, with the shadows of the buildings on the sun's side."""
        camera, light = self.camera, self.light
        top = int(np.searchsorted(self.rows, camera.horizon + 0.4))
        depth = (camera.focal * camera.eye / (self.rows[top:] - camera.horizon)).astype(np.float32)
        x = (camera.x + (self.columns - camera.vanish) * (depth / camera.focal)[:, None]).astype(np.float32)
        z = depth[:, None]
        road = (np.abs(x) < street.half) | ((z > street.near) & (z < street.far))
        tone = _grain(rng, x, z)
        slab, kerb = rng.uniform(0.5, 1.5), np.abs(np.abs(x) - street.half - 0.1) < 0.1
        joints = (_fraction(x / slab) < 0.07 / slab) | (_fraction(z / slab) < 0.07 / slab)
        tone[joints & ~road & (z < 14)] *= 0.85
        tone[kerb & ~road] *= rng.uniform(0.85, 1.25)
        k = np.clip(np.searchsorted(shadows.start, depth) - 1, 0, None)
        reach = np.where(depth < shadows.stop[k], shadows.height[k] * rng.uniform(0.2, 1.2), 0)
        tone[light.side * x > street.wall - reach[:, None]] *= 1 - light.sun
        grey = rng.uniform(70, 135)
        asphalt, paving = grey + rng.uniform(-6, 6, 3), grey + rng.uniform(-15, 45) + rng.uniform(-9, 9, 3)
        paint = rng.uniform(150, 235) * np.array((1.0, 1.0, rng.choice((1.0, 0.55))))
        material = np.where(_markings(rng, x, z, street), 2, np.where(road, 0, 1))
        colour = np.stack([asphalt, paving, paint]).astype(np.float32).take(material, axis=0) * tone[..., None]
        colour = light.shade(colour, z)
        if rng.random() < 0.4:  # puddles mirror the sky above them, and are still road
            pool = road & (_noise(rng, len(x), x.shape[1], 14, 6) > 0.62) & (z < 40)
            mirror = self.sky[np.clip(top - np.arange(len(x)), 0, None)]
            colour[pool] = 0.3 * colour[pool] + 0.7 * mirror[pool]
        self.image[top:] = colour
        self.classes[top:] = np.where(road, ROAD, SIDEWALK)

    def walls(self, row: _Row, street: _Street, side: int) -> None:
        """One side of the street: first the gable ends that face the camera, then all fronts along the road."""
        for k in range(len(row.start) - 2, -1, -1):
            hidden = k > 0 and row.stop[k - 1] == row.start[k] and row.height[k - 1] >= row.height[k]
            if _NEAR < row.start[k] < 80 and not hidden:
                self.gable(row, k, side * street.wall, side * (street.wall + 9))
        offset = self.columns - self.camera.vanish
        with np.errstate(divide="ignore"):
            z = (self.camera.focal * (side * street.wall - self.camera.x) / offset).astype(np.float32)
        ks = np.clip(np.searchsorted(row.start, z) - 1, 0, len(row.start) - 2)
        built = (z > row.start[ks]) & (z > 0) & (z < row.stop[ks])
        columns = np.flatnonzero(built)
        if len(columns):
            area = slice(int(columns[0]), int(columns[-1]) + 1)
            u = np.where(built, z - row.start[ks], -1)
            self._facade(row, ks[area], u[area], z[area], area, 0.65 if side == self.light.side else 1.0)

    def gable(self, row: _Row, k: int, x0: float, x1: float) -> None:
        """The face of building `k` that looks along the street at the camera, from `x0` to `x1`."""
        z = float(row.start[k])
        edges = sorted(self.camera.project(x, 0, z)[0] for x in (x0, x1))
        first, last = np.searchsorted(self.columns, edges).tolist()
        if first < last:
            area = slice(first, last)
            u = np.abs(self.camera.x + (self.columns[area] - self.camera.vanish) * z / self.camera.focal - x0)
            self._facade(row, np.full(len(u), k), u, np.full(len(u), z, np.float32), area, 0.82)

    def _facade(self, row: _Row, k: NDArray[np.int64], u: Array, z: Array, area: slice, sun: float) -> None:
        """Paint the columns of `area`: in each, building `k` at depth `z`, `u` metres along it (a gap if u < 0)."""
        camera, light = self.camera, self.light
        top = row.height[k]
        first = int(np.searchsorted(self.rows, camera.horizon - ((top - camera.eye) / z).max() * camera.focal))
        last = int(np.searchsorted(self.rows, camera.horizon + camera.eye / z.min() * camera.focal))
        rows = slice(first, last)
        v = camera.eye + (camera.horizon - self.rows[rows])[:, None] * (z / camera.focal)
        inside = (v >= 0) & (v < top) & (u >= 0)
        across, up = u / row.bay[k], v / row.storey[k]
        floor = np.floor(up)
        wide, high = row.window[k].T / 2
        glass = (np.abs(_fraction(across) - 0.5) < wide) & (np.abs(up - floor - 0.55) < high) & (v < top - 0.6)
        left, low, size = row.poster[k].T
        poster = (np.abs(u - left - size / 2) < size / 2) & (np.abs(v - low - size / 2) < size / 2)
        pane = row.panes[(floor.astype(np.int32) * 31 + (across.astype(np.int32) * 7 + k.astype(np.int32) * 13)) & 127]
        # Materials: 0 wall, 1 trim, 2 dark glass, 3 lit glass, 4 the leaves on a poster of the outdoors.
        trim = (v > top - 0.5) | ((up < 1) & (row.panes[k] < 0.5)) | (np.abs(u - 0.1) < 0.1)
        material = np.where(poster, 4, np.where(glass, np.where(pane > 1 - light.lamps, 3, 2), trim))
        wall = row.wall[k] * np.float32(sun)
        leaves = np.broadcast_to(np.array((60, 95, 38), np.float32), wall.shape)
        palette = light.shade(np.stack([wall, row.trim[k] * np.float32(sun), wall * 0.35, wall, leaves]), z)
        palette[3] = (250, 215, 140)
        colour = palette.reshape(-1, 3).take(material * len(u) + np.arange(len(u)), axis=0)
        mirror = (glass & (pane < row.panes[-1]) & ~poster) | (poster & (v > low + size * 0.45))
        np.copyto(colour, self.sky[rows, area] * np.float32(0.92), where=mirror[..., None])
        np.copyto(self.image[rows, area], colour, where=inside[..., None])
        np.copyto(self.classes[rows, area], BUILDING, where=inside)


def _grain(rng: Generator, x: Array, z: Array) -> Array:
    """Brightness of the ground: patches and grit that lie on it in perspective."""
    patches, grit = _noise(rng, 64, 64, 12, 12), rng.uniform(-0.09, 0.09, (64, 64)).astype(np.float32)
    coarse = patches[(z * 2.5).astype(np.int32) & 63, (x * 5).astype(np.int32) & 63]
    fine = grit[(z * 9).astype(np.int32) & 63, (x * 14).astype(np.int32) & 63]
    tone: Array = 1 + np.float32(0.13) * coarse + fine * np.exp(-z / 12)
    return tone


def _markings(rng: Generator, x: Array, z: Array, street: _Street) -> Mask:
    """A dashed or double centre line, lines along the parking lanes, and a zebra before the side street."""
    style, edge, zebra = rng.random(3)
    dash, aside = rng.uniform(3, 8), np.abs(x)
    lines = (aside < 0.09) & (_fraction(z / dash) < 0.5) if style < 0.7 else np.abs(aside - 0.15) < 0.07
    if edge < 0.5:
        lines |= np.abs(aside - street.half + 2.3) < 0.06
    if zebra < 0.7:
        before = (z > street.near - 4.5) & (z < street.near - 1.5)
        lines = (lines & ~before) | (before & (aside < street.half) & (_fraction(x / 1.1) < 0.5))
    return lines & ~((z > street.near) & (z < street.far))


# --- The objects: polygons, from far to near ------------------------------------------------------------------------


class _Painter:
    """Draws every shape twice: shaded on the image, and as an object number on the label.

    Numbers 0 to 7 are the backdrop's classes; each object takes the next one, so that every object has its outline.
    """

    def __init__(self, rng: Generator, backdrop: _Backdrop) -> None:
        self.camera, self.light = backdrop.camera, backdrop.light
        self.image = Image.fromarray(backdrop.image.clip(0, 255).astype(np.uint8))
        self.numbers = Image.fromarray(backdrop.classes)
        self.pen, self.glaze = ImageDraw.Draw(self.image), ImageDraw.Draw(self.image, "RGBA")
        self.stencil = ImageDraw.Draw(self.numbers)
        self.paints: Iterator[Colour] = cycle(_colours(rng, 200).tolist())
        self.class_of = list(range(8))
        self.bordered: list[int] = []
        self.haze: list[float] = self.light.haze.tolist()

    def begin(self, label: int, x: float, z: float, bordered: bool = False) -> None:
        """All shapes up to the next `begin` belong to one object that stands at (x, z)."""
        if bordered:
            self.bordered.append(len(self.class_of))
        self.class_of.append(label)
        self.scale = self.camera.focal / max(z, _NEAR)
        self.foot = self.camera.project(x, 0, z)
        clear = math.exp(-z / self.light.sight)
        self.gain, self.fog = (self.light.tint * clear).tolist(), (self.light.haze * (1 - clear)).tolist()

    def ink(self, colour: Colour, bright: float = 1.0) -> tuple[int, int, int]:
        (r, g, b), (gain_r, gain_g, gain_b), (fog_r, fog_g, fog_b) = colour, self.gain, self.fog
        return int(r * bright * gain_r + fog_r), int(g * bright * gain_g + fog_g), int(b * bright * gain_b + fog_b)

    def screen(self, points: Iterable[Point]) -> list[Point]:
        """Metres to the right of the object's foot and above it, to screen."""
        (u, v), scale = self.foot, self.scale
        return [(u + x * scale, v - y * scale) for x, y in points]

    def shape(self, points: Iterable[Point], colour: Colour, bright: float = 1.0) -> None:
        """A polygon facing the camera, in metres from the object's foot."""
        self.polygon(self.screen(points), colour, bright)

    def polygon(self, points: list[Point], colour: Colour, bright: float = 1.0) -> None:
        self.pen.polygon(points, self.ink(colour, bright))
        self.stencil.polygon(points, len(self.class_of) - 1)

    def post(self, low: float, high: float, thickness: float, colour: Colour) -> None:
        """An upright bar, never thinner than a pixel of the label, however far away."""
        (u, bottom), (_, top) = self.screen([(0, low), (0, high)])
        for pen, ink, least in ((self.pen, self.ink(colour), 1), (self.stencil, len(self.class_of) - 1, _SS)):
            count = max(least, round(thickness * self.scale))
            left = round(u - (count - 1) / 2)
            pen.rectangle((left, round(top), left + count - 1, round(bottom)), ink)

    def shadow(self, x: float, z: float, wide: float, deep: float, strength: float) -> None:
        """Darken an ellipse on the ground; it has no part in the label."""
        points = [self.camera.project(px, 0, pz) for px, pz in _ellipse(x, z, wide, deep, 10)]
        self.glaze.polygon(points, (0, 0, 10, int(255 * strength)))

    def label(self) -> NDArray[np.uint8]:
        """Classes, with a band of void one pixel wide around each bordered object.

        The band lies outside the object and spares poles and persons, which it would wipe out.
        """
        numbers = np.asarray(self.numbers)[::_SS, ::_SS]
        classes: NDArray[np.uint8] = np.array(self.class_of, np.uint8)[numbers]
        marked = np.isin(numbers, self.bordered)
        around = marked.copy()
        around[1:] |= marked[:-1]
        around[:-1] |= marked[1:]
        around[:, 1:] |= marked[:, :-1]
        around[:, :-1] |= marked[:, 1:]
        classes[around & ~marked & (classes != POLE) & (classes != PERSON)] = IGNORE_INDEX
        return classes


@cache
def _circle(corners: int, turn: float) -> list[Point]:
    angles = [turn + 2 * math.pi * i / corners for i in range(corners)]
    return [(math.cos(angle), math.sin(angle)) for angle in angles]


def _ellipse(x: float, y: float, wide: float, high: float, corners: int, turn: float = 0.0) -> list[Point]:
    return [(x + wide * cos, y + high * sin) for cos, sin in _circle(corners, turn)]


def _rectangle(x0: float, y0: float, x1: float, y1: float) -> list[Point]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _part(face: list[Point], x0: float, y0: float, x1: float, y1: float) -> list[Point]:
    """The part of a four-cornered face between the given fractions of its width and height."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = face

    def at(u: float, v: float) -> Point:
        w = 1 - u
        return (ax * w + bx * u) * (1 - v) + (dx * w + cx * u) * v, (ay * w + by * u) * (1 - v) + (dy * w + cy * u) * v

    return [at(u, v) for u, v in _rectangle(x0, y0, x1, y1)]


def _faces_camera(face: list[Point]) -> bool:
    """Whether the corners run counter-clockwise on screen."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = face
    return (cx - ax) * (dy - by) - (cy - ay) * (dx - bx) < 0


def _draw_car(painter: _Painter, rng: Generator, x: float, z: float, yaw: float) -> None:
    """A body and a cabin, both frustums; only the faces that look at the camera are drawn."""
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
        return [(name, face) for name, face in named.items() if _faces_camera(face)]

    bright = {"rear": 0.85, "front": 0.85, "right": 0.75, "left": 0.75, "top": 1.15}
    bright["right" if painter.light.side * cos > 0 else "left"] = 1.0
    for name, face in faces((0.0, 0.01, 0.99, 1.0), 0.22, belt, 0.05):
        painter.polygon(face, paint, bright[name])
        if name in ("left", "right"):
            for middle in (-0.31 * length, 0.3 * length):
                for radius, grey in ((0.35, 22), (0.18, 120)):
                    side = width / 2 if name == "right" else -width / 2
                    wheel = [place(along, side, up) for along, up in _ellipse(middle, 0.34, radius, radius, 10)]
                    painter.polygon(wheel, (grey, grey, grey))
        elif name != "top":
            painter.polygon(_part(face, 0, -0.2, 1, 0.2), (28, 28, 30))
            for edge in (0.04, 0.8):
                painter.polygon(
                    _part(face, edge, 0.5, edge + 0.16, 0.75), (190, 25, 25) if name == "rear" else (240, 240, 215)
                )
            painter.polygon(_part(face, 0.38, 0.3, 0.62, 0.48), (215, 215, 205))
    for name, face in faces(cabin, belt, roof, 0.18):
        painter.polygon(face, paint, bright[name])
        panes = {"top": (), "left": ((0.07, 0.48), (0.54, 0.93)), "right": ((0.07, 0.48), (0.54, 0.93))}
        for first, last in panes.get(name, ((0.08, 0.92),)):
            painter.polygon(_part(face, first, 0.12, last, 0.85), painter.haze, mirror)


def _draw_person(painter: _Painter, rng: Generator, x: float, z: float) -> None:
    """Legs and arms in mid-stride, a torso or a coat, a head with hair; children are smaller."""
    tall = rng.uniform(1.0, 1.3) if rng.random() < 0.15 else rng.uniform(1.55, 1.95)
    step, swing, hem = rng.uniform(-0.16, 0.16), rng.uniform(-0.08, 0.08), (0.46, 0.46, 0.46, 0.3)[rng.integers(4)]
    coat, trousers, bag = (next(painter.paints) for _ in range(3))
    painter.begin(PERSON, x, z, bordered=rng.random() < 0.5)
    painter.scale *= tall  # from here on, heights are fractions of the person's own

    def limb(top: Point, end: Point, thick: float, colour: Colour, bright: float = 1.0) -> None:
        (x0, y0), (x1, y1) = top, end
        painter.shape([(x0 - thick, y0), (x0 + thick, y0), (x1 + thick, y1), (x1 - thick, y1)], colour, bright)

    for side in (-1, 1):
        limb((side * 0.05, 0.5), (side * (0.035 + step), 0.0), 0.045, trousers, 0.9 + 0.1 * side)
        limb((side * 0.12, 0.8), (side * 0.14 + swing, 0.46), 0.03, coat, 0.8)
    painter.shape([(-0.09, hem), (0.09, hem), (0.14, 0.8), (0.06, 0.85), (-0.06, 0.85), (-0.14, 0.8)], coat)
    painter.shape(_ellipse(0, 0.92, 0.058, 0.078, 9), (60, 40, 25), rng.uniform(0.3, 3.2))
    painter.shape(_ellipse(0, 0.905, 0.046, 0.045, 7), (232, 190, 160), rng.uniform(0.35, 1.0))
    if rng.random() < 0.35:
        painter.shape(_rectangle(0.09, 0.4, 0.21, 0.56), bag)


def _draw_tree(painter: _Painter, rng: Generator, x: float, z: float) -> None:
    """A trunk and a crown of ragged blobs; leaves are dots in lighter and darker tones, with a few gaps of sky."""
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
        blob = zip(_circle(14, 0.0), outline, strict=True)
        to_x, to_y = lean + away * math.cos(angle), crown + away * math.sin(angle)
        light = 0.85 + 0.25 * math.sin(angle) + 0.12 * painter.light.side * math.cos(angle)
        painter.shape([(to_x + dx * r, to_y + dy * r) for (dx, dy), r in blob], leaf, bright * light)
    dots = min(500, 8 + int(2500 * (radius / z) ** 2))
    for tone, share in ((0.55, 1.0), (1.35, 1.0), (1.7, 0.4), (0.0, 0.15)):
        turn, away = rng.uniform(0, 2 * np.pi, int(dots * share)), radius * np.sqrt(rng.random(int(dots * share)))
        at = zip((lean + np.cos(turn) * away).tolist(), (crown + np.sin(turn) * away).tolist(), strict=True)
        ink = painter.ink(leaf, bright * tone) if tone else painter.ink(painter.haze)
        painter.pen.point(painter.screen(at), ink)


def _draw_lamp(painter: _Painter, rng: Generator, x: float, z: float) -> None:
    """A street lamp whose arm reaches over the road."""
    high, reach, grey = rng.uniform(5, 8), rng.uniform(0.8, 1.8) * (-1 if x > 0 else 1), next(painter.paints)
    painter.begin(POLE, x, z)
    painter.post(0, high, 0.16, grey)
    painter.shape([(0, high), (reach, high + 0.06), (reach, high + 0.2), (0, high + 0.14)], grey)
    lit = painter.light.lamps > 0.2
    painter.shape(_rectangle(0.75 * reach, high, 1.25 * reach, high + 0.22), (250, 235, 180) if lit else grey)


def _draw_sign(painter: _Painter, rng: Generator, x: float, z: float) -> None:
    """A traffic sign: round, triangular or square, with a rim."""
    high, size = rng.uniform(2.2, 2.8), rng.uniform(0.32, 0.5)
    corners, turn = ((12, 0.0), (3, math.pi / 2), (4, math.pi / 4))[rng.integers(3)]
    rim = ((200, 30, 35), (30, 70, 170), (225, 190, 40))[rng.integers(3)]
    face = ((235, 235, 230), (60, 110, 210), (240, 240, 235))[rng.integers(3)]
    painter.begin(POLE, x, z)
    painter.post(0, high, 0.11, (130, 132, 135))
    painter.shape(_ellipse(0, high, size, size, corners, turn), rim)
    painter.shape(_ellipse(0, high, 0.68 * size, 0.68 * size, corners, turn), face)


def _draw_traffic_light(painter: _Painter, rng: Generator, x: float, z: float) -> None:
    """A post with a box of three lamps, one of them on."""
    painter.begin(POLE, x, z)
    painter.post(0, 3.6, 0.15, (60, 62, 60))
    painter.shape(_rectangle(-0.2, 2.6, 0.2, 3.6), (30, 32, 30))
    on = int(rng.integers(3))
    for lamp, colour in enumerate(((40, 200, 90), (240, 180, 40), (230, 40, 35))):
        painter.shape(_ellipse(0, 2.78 + 0.32 * lamp, 0.13, 0.13, 8), colour, 1.0 if lamp == on else 0.25)


def _draw_bonnet(painter: _Painter, rng: Generator, height: int, width: int) -> None:
    """The bonnet of the car that carries the camera: void, as in driving data sets."""
    painter.begin(IGNORE_INDEX, 0.0, 0.0)
    rise, middle = height * rng.uniform(0.05, 0.1), width * rng.uniform(0.4, 0.6)
    painter.polygon(_ellipse(middle, height, 0.6 * width, rise, 40), next(painter.paints), 0.6)


# --- A scene: what stands where -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Thing:
    """Something that stands on the ground. `shadow` is the half width and half depth of its shadow."""

    draw: Callable[[_Painter, Generator, float, float], None]
    x: float
    z: float
    shadow: tuple[float, float]


def _car(x: float, z: float, yaw: float) -> _Thing:
    shadow = (1.15, 2.4) if abs(math.cos(yaw)) > 0.5 else (2.4, 1.15)
    return _Thing(lambda painter, rng, x, z: _draw_car(painter, rng, x, z, yaw), x, z, shadow)


def _traffic(rng: Generator, street: _Street) -> list[_Thing]:
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


def _furniture(rng: Generator, street: _Street) -> list[_Thing]:
    """Trees and lamps in line along the kerbs, and signs and traffic lights before the side street."""
    things: list[_Thing] = []
    for side in (-1, 1):
        kerb = side * (street.half + 0.5)
        for draw, gap, chance, shadow in ((_draw_tree, (7, 13), 0.55, 1.6), (_draw_lamp, (11, 20), 0.7, 0.25)):
            z, planted = rng.uniform(5, 12), rng.random() < chance
            while planted and z < street.end:
                if not street.crossed(z, 1):
                    things.append(_Thing(draw, kerb + rng.uniform(-0.2, 0.3), z, (shadow, shadow)))
                z += rng.uniform(*gap)
        for z in rng.uniform(4.5, 25, rng.integers(0, 3)).tolist():
            if not street.crossed(z, 1):
                things.append(_Thing(_draw_sign, kerb, z, (0.3, 0.1)))
        if rng.random() < 0.7:
            things.append(_Thing(_draw_traffic_light, kerb, street.near - 1.0, (0.2, 0.1)))
    return things


def _crowd(rng: Generator, street: _Street) -> list[_Thing]:
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
    return [_Thing(_draw_person, x, z, (0.35, 0.2)) for x, z in spots]


def _render(rng: Generator, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image (H,W,3) and label (H,W) of one scene drawn at `height` and `width`, which are _SS times as large."""
    end = rng.uniform(45, 110)
    corner = rng.uniform(10, 32) if rng.random() < 0.5 else end + 50
    street = _Street(rng.uniform(4.6, 7.0), rng.uniform(2.4, 5.5), end, corner, corner + rng.uniform(6, 10))
    camera = _Camera(
        focal=height * rng.uniform(0.85, 1.25),
        horizon=height * rng.uniform(0.36, 0.54),
        vanish=width * rng.uniform(0.3, 0.7),
        x=rng.uniform(-1.0, 1.0) * street.half,
        eye=rng.uniform(1.3, 2.3),
    )
    light = _make_light(rng)
    left, right = _make_row(rng, street), _make_row(rng, street)
    backdrop = _Backdrop(rng, height, width, camera, light)
    backdrop.ground(rng, street, right if light.side > 0 else left)
    if rng.random() < 0.6:
        backdrop.gable(left, len(left.start) - 1, -street.wall - 30, street.wall + 30)
    backdrop.walls(left, street, -1)
    backdrop.walls(right, street, 1)
    painter = _Painter(rng, backdrop)
    things = _traffic(rng, street) + _furniture(rng, street) + _crowd(rng, street)
    # What is farther would be specks, and what is close ahead would hide the street.
    things = [thing for thing in things if thing.z < 50 and (thing.z > 8 or abs(thing.x - camera.x) > 2.3)]
    for thing in things:
        painter.shadow(thing.x - light.side * thing.shadow[0] * light.sun, thing.z, *thing.shadow, 0.2 + light.sun / 2)
    for thing in sorted(things, key=lambda thing: -thing.z):
        thing.draw(painter, rng, thing.x, thing.z)
    if rng.random() < 0.25:
        _draw_bonnet(painter, rng, height, width)
    return _develop(rng, painter.image), painter.label()


def _develop(rng: Generator, image: Image.Image) -> NDArray[np.uint8]:
    """What lens and sensor do: average down, blur, colour cast, contrast, exposure, noise."""
    soft = image.reduce(_SS).filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 0.7)))
    cast, contrast = rng.normal(1, 0.05, 3).astype(np.float32), rng.uniform(0.75, 1.15)
    noise = rng.standard_normal((soft.height, soft.width, 3), np.float32) * rng.uniform(2, 9)
    developed = (np.asarray(soft, np.float32) * cast - 118) * contrast + noise + (118 + rng.uniform(-18, 12))
    return developed.clip(0, 255).astype(np.uint8)
