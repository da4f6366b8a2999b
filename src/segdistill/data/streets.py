"""Generated street scenes: a data set that needs no download, for demos, lessons and tests.

Every scene is a straight street seen by a pinhole camera. The world is measured in metres: X to the right, Y up
from the ground, Z ahead of the camera. Sky, ground and buildings are shaded per pixel with numpy; trees, poles, cars
and persons are polygons drawn from far to near, at once on the image and on the label.

Local colour says little about the class on purpose: buildings, cars and clothes share one palette, windows and
puddles mirror the sky, some walls and posters are green, and kerb, pavement and road are all grey.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.scenery.scene import render
from segdistill.data.scenery.world import BUILDING, CAR, PERSON, POLE, ROAD, SIDEWALK, SKY, TREE
from segdistill.data.tables import label_table
from segdistill.errors import DataError, nearest

__all__ = ["BUILDING", "CAR", "PERSON", "POLE", "ROAD", "SIDEWALK", "SKY", "TREE", "Streets"]

_DEFAULT_COUNT = {"train": 600, "val": 100}
_MIN_SIDE = 32


class Streets(SegmentationDataset):
    """`count` street scenes of `size` (H,W); scene i depends on nothing but seed, split, i and size."""

    classes = label_table("streets").classes

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
        image, label = render(rng, *self.size)
        channels_first = np.ascontiguousarray(image.transpose(2, 0, 1))
        name = f"streets-{self.split}-{index:05d}"
        return Sample(torch.from_numpy(channels_first), torch.from_numpy(label), name)
