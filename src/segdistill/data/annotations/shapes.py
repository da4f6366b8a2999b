"""Polygons, ellipses and run lengths as areas of pixels; one function draws all polygons, that of the COCO API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segdistill.core.errors import DataError
from segdistill.data.annotations.base import Bits, Shape, Size
from segdistill.data.annotations.rle import decode

Ring = Sequence[float]
"""x, y, x, y, ... of the corners in pixels; (0, 0) is the outer corner of the first pixel."""

_FAR = 8  # image sides that a corner may lie outside of the image; the COCO API walks along every edge


def fill(rings: Sequence[Ring], size: Size) -> Bits:
    """The pixels inside any of some polygons, as the COCO API draws them (`annToMask`), pixel for pixel.

    Args:
        rings: the polygons; one of fewer than three corners has no area.
        size: (H,W) of the image.

    Returns:
        (H,W), bool.

    Raises:
        ValueError: a corner is no number, or far outside of the image.
        DataError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask as coco
    except ImportError as error:
        raise DataError("Polygons are drawn by pycocotools. Install it: pip install 'segdistill[labels]'.") from error
    height, width = size
    drawn: Bits = np.zeros(size, bool)
    for ring in rings:
        corners = np.asarray(ring, np.float64)
        if corners.ndim != 1 or len(corners) % 2:
            raise ValueError(f"a polygon of {np.size(corners)} numbers; expected x, y of each corner")
        if not (np.abs(corners) <= _FAR * max(size)).all():
            raise ValueError(f"a corner at {np.abs(corners).max():g} on an image of {width}x{height} (width x height)")
        if len(corners) >= 6:
            drawn |= coco.decode(coco.frPyObjects([corners.tolist()], height, width)[0]).astype(bool)
    return drawn


@dataclass(frozen=True)
class Polygon(Shape):
    """The area of some rings without that of the holes. relative: whether 1 is the image's width and height."""

    rings: Sequence[Ring]
    holes: Sequence[Ring] = ()
    relative: bool = False

    def mask(self, size: Size) -> Bits:
        """The pixels inside any ring and in no hole.

        Args:
            size: (H,W) of the image, which relative corners are multiplied with.

        Returns:
            (H,W), bool.

        Raises:
            ValueError: a corner is no number, or far outside of the image.
            DataError: pycocotools is not installed.
        """
        drawn = fill([self._pixels(ring, size) for ring in self.rings], size)
        return drawn & ~fill([self._pixels(ring, size) for ring in self.holes], size) if self.holes else drawn

    def _pixels(self, ring: Ring, size: Size) -> Ring:
        if not self.relative:
            return ring
        scaled = np.array(ring, np.float64)
        scaled[0::2] *= size[1]
        scaled[1::2] *= size[0]
        return [float(value) for value in scaled]


@dataclass(frozen=True)
class Ellipse(Shape):
    """The pixels whose center lies in ((x - x0) / a)^2 + ((y - y0) / b)^2 <= 1, turned by `degrees` clockwise.

    center: x0, y0 in pixels. radii: a, b.
    """

    center: tuple[float, float]
    radii: tuple[float, float]
    degrees: float = 0.0

    def mask(self, size: Size) -> Bits:
        """The pixels whose center lies inside.

        Args:
            size: (H,W) of the image.

        Returns:
            (H,W), bool.

        Raises:
            ValueError: a radius is not above 0, or a number is not finite.
        """
        y, x = np.mgrid[: size[0], : size[1]] + 0.5
        x, y = x - self.center[0], y - self.center[1]
        angle = np.deg2rad(self.degrees)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        a, b = self.radii
        if not (a > 0 and b > 0 and np.isfinite([*self.center, a, b]).all()):
            raise ValueError(f"an ellipse of radii {a:g} and {b:g} at {self.center}")
        inside: Bits = (along / a) ** 2 + (across / b) ** 2 <= 1
        return inside


@dataclass(frozen=True)
class Runs(Shape):
    """Run lengths down the columns, as COCO's (`rle.decode`). coded: (H,W) of the mask they are of."""

    coded: Size
    counts: str | Sequence[int]

    def mask(self, size: Size) -> Bits:
        """The runs decoded.

        Args:
            size: (H,W) of the image, which `coded` has to equal.

        Returns:
            (H,W), bool.

        Raises:
            ValueError: they are of another size, or damaged.
        """
        if tuple(self.coded) != size:
            raise ValueError(f"a mask of size {list(self.coded)} on an image of {list(size)} (height, width)")
        return decode(self.coded, self.counts)


@dataclass(frozen=True)
class Patch(Shape):
    """A small mask that lies somewhere on the image. left, top: of its first pixel."""

    left: int
    top: int

    def patch(self) -> Bits:
        """The small mask, bool (h,w); a `ValueError` says what is wrong with it."""
        raise NotImplementedError

    def mask(self, size: Size) -> Bits:
        """The small mask at its place; what lies outside of the image is cut off.

        Args:
            size: (H,W) of the image.

        Returns:
            (H,W), bool.

        Raises:
            ValueError: as of `patch`.
        """
        small, drawn = self.patch(), np.zeros(size, bool)
        top, left = max(0, self.top), max(0, self.left)
        seen = small[top - self.top :, left - self.left :][: max(0, size[0] - top), : max(0, size[1] - left)]
        drawn[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
        return drawn


def box(left: float, top: float, right: float, bottom: float) -> list[float]:
    """The ring of a box.

    Args:
        left: x of its left edge.
        top: y of its upper edge.
        right: x of its right edge.
        bottom: y of its lower edge.

    Returns:
        x, y of its four corners.
    """
    left, right, top, bottom = min(left, right), max(left, right), min(top, bottom), max(top, bottom)
    return [left, top, right, top, right, bottom, left, bottom]


def numbers(values: Any, what: str) -> list[float]:
    """A list of numbers of a file.

    Args:
        values: numbers, or pairs of them.
        what: they are, for the message.

    Returns:
        The numbers in a row.

    Raises:
        ValueError: it is something else.
    """
    try:
        flat = np.asarray(values, np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is {str(values)[:60]}; expected numbers") from error
    if not np.isfinite(flat).all():
        raise ValueError(f"{what} holds {flat[~np.isfinite(flat)][0]}; expected numbers")
    return [float(each) for each in flat]
