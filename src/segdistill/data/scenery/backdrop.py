"""The backdrop of a scene: sky, ground and buildings, shaded pixel by pixel."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from segdistill.data.scenery.world import BUILDING, NEAR, ROAD, SIDEWALK, SKY, Array, Camera, Light, Row, Street

Mask = NDArray[np.bool_]


class Backdrop:
    """Image (float) and class map of everything that no object stands in front of.

    Walls line the street, and whatever stands between them is in front of them, so they never need depth sorting.

    Args:
        rng: what the sky is drawn from.
        height: of the drawing, in pixels.
        width: of the drawing, in pixels.
        camera: that sees the scene.
        light: time of day and weather.
    """

    def __init__(self, rng: Generator, height: int, width: int, camera: Camera, light: Light) -> None:
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

    def ground(self, rng: Generator, street: Street, shadows: Row) -> None:
        """Draw road and pavement, with the shadows of the buildings on the sun's side.

        Args:
            rng: what materials, markings and puddles are drawn from.
            street: the ground plan.
            shadows: the buildings on the sun's side.
        """
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
        color = np.stack([asphalt, paving, paint]).astype(np.float32).take(material, axis=0) * tone[..., None]
        color = light.shade(color, z)
        if rng.random() < 0.4:  # puddles mirror the sky above them, and are still road
            pool = road & (_noise(rng, len(x), x.shape[1], 14, 6) > 0.62) & (z < 40)
            mirror = self.sky[np.clip(top - np.arange(len(x)), 0, None)]
            color[pool] = 0.3 * color[pool] + 0.7 * mirror[pool]
        self.image[top:] = color
        self.classes[top:] = np.where(road, ROAD, SIDEWALK)

    def walls(self, row: Row, street: Street, side: int) -> None:
        """Draw one side of the street: the gable ends that face the camera, then all fronts along the road.

        Args:
            row: the buildings of that side.
            street: the ground plan.
            side: -1 for the left one, 1 for the right one.
        """
        for k in range(len(row.start) - 2, -1, -1):
            hidden = k > 0 and row.stop[k - 1] == row.start[k] and row.height[k - 1] >= row.height[k]
            if NEAR < row.start[k] < 80 and not hidden:
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

    def gable(self, row: Row, k: int, x0: float, x1: float) -> None:
        """Draw the face of a building that looks along the street at the camera.

        Args:
            row: the buildings of one side.
            k: which of them.
            x0: where the face begins, in metres.
            x1: where it ends.
        """
        z = float(row.start[k])
        edges = sorted(self.camera.project(x, 0, z)[0] for x in (x0, x1))
        first, last = np.searchsorted(self.columns, edges).tolist()
        if first < last:
            area = slice(first, last)
            u = np.abs(self.camera.x + (self.columns[area] - self.camera.vanish) * z / self.camera.focal - x0)
            self._facade(row, np.full(len(u), k), u, np.full(len(u), z, np.float32), area, 0.82)

    def _facade(self, row: Row, k: NDArray[np.int64], u: Array, z: Array, area: slice, sun: float) -> None:
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
        color = palette.reshape(-1, 3).take(material * len(u) + np.arange(len(u)), axis=0)
        mirror = (glass & (pane < row.panes[-1]) & ~poster) | (poster & (v > low + size * 0.45))
        np.copyto(color, self.sky[rows, area] * np.float32(0.92), where=mirror[..., None])
        np.copyto(self.image[rows, area], color, where=inside[..., None])
        np.copyto(self.classes[rows, area], BUILDING, where=inside)


def _grain(rng: Generator, x: Array, z: Array) -> Array:
    """Brightness of the ground: patches and grit that lie on it in perspective."""
    patches, grit = _noise(rng, 64, 64, 12, 12), rng.uniform(-0.09, 0.09, (64, 64)).astype(np.float32)
    coarse = patches[(z * 2.5).astype(np.int32) & 63, (x * 5).astype(np.int32) & 63]
    fine = grit[(z * 9).astype(np.int32) & 63, (x * 14).astype(np.int32) & 63]
    tone: Array = 1 + np.float32(0.13) * coarse + fine * np.exp(-z / 12)
    return tone


def _markings(rng: Generator, x: Array, z: Array, street: Street) -> Mask:
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


def _noise(rng: Generator, height: int, width: int, rows: int, columns: int) -> Array:
    """Smooth noise, mostly in -1 to 1: a small random grid blown up."""
    grid = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))


def _fraction(x: Array) -> Array:
    return x - np.floor(x)
