"""Generated street scenes: a data set that needs no download, for demos, lessons and tests.

Every scene is a straight street seen by a pinhole camera. The world is measured in metres: X to the right, Y up
from the ground, Z ahead of the camera. Sky, ground and buildings are shaded per pixel with numpy; trees, poles, cars
and persons are polygons drawn from far to near, at once on the image and on the label.

Local color says little about the class on purpose: buildings, cars and clothes share one palette, windows and
puddles mirror the sky, some walls and posters are green, and kerb, pavement and road are all grey.
"""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.errors import DataError, nearest
from segdistill.core.numbers import Size
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.scenery.scene import render
from segdistill.data.scenery.world import BUILDING, CAR, PERSON, POLE, ROAD, SIDEWALK, SKY, TREE
from segdistill.data.tables import label_table

__all__ = ["BUILDING", "CAR", "PERSON", "POLE", "ROAD", "SIDEWALK", "SKY", "TREE", "Streets"]

_DEFAULT_COUNT = {"train": 600, "val": 100}
_MIN_SIDE = 32
_KEPT = 1024  # small scenes, ready for the next epoch: 50 MB at the default size, 82 at most
_SMALL = 20_000  # pixels


class Streets(SegmentationDataset):
    """Street scenes; scene i depends on nothing but seed, split, i and size.

    Args:
        split: "train" or "val".
        size: (H,W) in pixels, 32 at least.
        count: The number of scenes; null is 600 for training and 100 for validation.
        seed: What the scenes are drawn from.
        labeled: How many of the training scenes, the first ones, have labels; null for all.

    Raises:
        DataError: An argument is wrong.
    """

    classes = label_table("streets").classes

    def __init__(
        self,
        *,
        split: Literal["train", "val"] = "train",
        size: Size = (96, 128),
        count: int | None = None,
        seed: int = 0,
        labeled: int | None = None,
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
        if labeled is not None and (not isinstance(labeled, int) or labeled < 0):
            raise DataError(f"labeled is the number of scenes with labels, 0 or larger; got {labeled!r}.")
        self.split, self.size, self.seed = split, (size[0], size[1]), seed
        self.count = _DEFAULT_COUNT[split] if count is None else count
        self.labeled = self.count if labeled is None or split != "train" else labeled

    def __len__(self) -> int:
        return self.count

    def is_labeled(self, index: int) -> bool:
        """Whether a scene is one of the first `labeled`.

        Args:
            index: From 0 to len - 1.
        """
        return index < self.labeled

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(f"There is no scene {index}: the last of {self.count} is {self.count - 1}.")
        draw = _drawn_before if self.size[0] * self.size[1] <= _SMALL else _draw
        image, label = draw(self.seed, self.split, index, self.size)
        labeled = self.is_labeled(index)
        classes = torch.tensor(label if labeled else np.full_like(label, IGNORE_INDEX))
        return Sample(torch.tensor(image), classes, f"streets-{self.split}-{index:05d}", labeled)


def _draw(seed: int, split: str, index: int, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image (3,H,W) and label (H,W)."""
    image, label = render(np.random.default_rng([seed, list(_DEFAULT_COUNT).index(split), index]), *size)
    return np.ascontiguousarray(image.transpose(2, 0, 1)), label


_drawn_before = functools.lru_cache(_KEPT)(_draw)
