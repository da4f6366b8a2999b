"""A mask as connected areas of one class: their outlines along pixel edges, and their run lengths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segdistill.core.classes import IGNORE_INDEX

Mask = NDArray[np.uint8]
Bits = NDArray[np.bool_]
Point = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Region:
    """A 4-connected area of one class.

    Attributes:
        label: Class index, or void.
        left: x of its first column in the image.
        top: y of its first row.
        bits: Which pixels of the box at that place it has, (h,w).
    """

    label: int
    left: int
    top: int
    bits: Bits

    @cached_property
    def filled(self) -> Bits:
        """The area with its holes, (h,w)."""
        filled: Bits = ndimage.binary_fill_holes(self.bits)
        return filled

    def outline(self) -> list[Point]:
        """The corners x, y of the outer edge in pixels of the image, clockwise; (0, 0) is the first pixel's corner.

            .##.      every edge between the area and the rest, directed so that the area is on its right,
            ####      leads to the next one; corners are where the direction changes

        Neither the area, with its holes filled, nor what is around it touches itself only at a corner, so at each point
        there is one way to go on.
        """
        area = np.pad(self.filled, 1)
        inside = area[1:-1, 1:-1]
        # The neighbor without the area, and the edge towards it: from and to which corner of the pixel.
        sides = (
            (area[:-2, 1:-1], (0, 0), (1, 0)),
            (area[1:-1, 2:], (1, 0), (1, 1)),
            (area[2:, 1:-1], (1, 1), (0, 1)),
            (area[1:-1, :-2], (0, 1), (0, 0)),
        )
        following: dict[Point, Point] = {}
        for beside, (x0, y0), (x1, y1) in sides:
            rows, columns = np.nonzero(inside & ~beside)
            for y, x in zip(rows.tolist(), columns.tolist(), strict=True):
                following[x + x0, y + y0] = (x + x1, y + y1)
        start = at = next(iter(following))
        corners, direction = [], (0, 0)
        while True:
            after = following[at]
            turned = (after[0] - at[0], after[1] - at[1])
            if turned != direction:
                corners.append((at[0] + self.left, at[1] + self.top))
            at, direction = after, turned
            if at == start:
                return corners

    def runs_of_columns(self, height: int, width: int) -> list[int]:
        """Run lengths down the columns of an image, as COCO has them.

        Args:
            height: Of the image, in pixels.
            width: Of the image, in pixels.

        Returns:
            Pixels outside and inside in turn, outside first; their sum is height * width.
        """
        columns, rows = np.nonzero(self.bits.T)
        return _runs((columns + self.left) * height + rows + self.top, height * width)

    def runs_of_rows(self, height: int, width: int) -> list[int]:
        """Run lengths along the rows of an image.

        Args:
            height: Of the image, in pixels.
            width: Of the image, in pixels.

        Returns:
            Pixels outside and inside in turn, outside first; their sum is height * width.
        """
        rows, columns = np.nonzero(self.bits)
        return _runs((rows + self.top) * width + columns + self.left, height * width)


def regions(mask: Mask, *, void: bool = False) -> Iterator[Region]:
    """The connected areas of a mask.

    Args:
        mask: Class indices or void (H,W).
        void: Whether areas of void count, too.

    Yields:
        The areas of each class, from its first pixel's row down.
    """
    for label in np.unique(mask).tolist():
        if label == IGNORE_INDEX and not void:
            continue
        count, numbers, boxes = _connected(mask, label)
        for number in range(1, count):
            left, top, width, height, _ = boxes[number].tolist()
            bits = numbers[top : top + height, left : left + width] == number
            yield Region(label, left, top, bits)


def without_small(mask: Mask, least: int) -> Mask:
    """A mask whose small connected areas are void.

    Args:
        mask: Class indices or void (H,W).
        least: Pixels that an area must have to stay.

    Returns:
        (H,W).
    """
    if least <= 1:
        return mask
    kept = mask.copy()
    for label in np.unique(mask).tolist():
        if label != IGNORE_INDEX:
            _, numbers, boxes = _connected(mask, label)
            small = boxes[:, cv2.CC_STAT_AREA] < least
            small[0] = False  # what is not of this class
            kept[small[numbers]] = IGNORE_INDEX
    return kept


def _connected(mask: Mask, label: int) -> tuple[int, NDArray[np.int32], NDArray[np.int32]]:
    """How many areas of a class there are and one more, their numbers (H,W), and left, top, width, height, pixels."""
    answer = cv2.connectedComponentsWithStats((mask == label).astype(np.uint8), connectivity=4)
    count, numbers, boxes = answer[:3]
    return count, np.asarray(numbers), np.asarray(boxes)


def _runs(places: NDArray[np.int64], total: int) -> list[int]:
    """Alternating run lengths, 0 first, of a row of `total` pixels that are 1 at ascending `places`."""
    breaks = np.flatnonzero(np.diff(places) != 1)
    first, last = places[[0, *(breaks + 1)]], places[[*breaks, -1]]
    bounds = np.stack([first, last + 1], 1).reshape(-1)
    lengths = np.diff(np.concatenate([[0], bounds, [total]]))
    return [int(length) for length in (lengths if lengths[-1] else lengths[:-1])]
