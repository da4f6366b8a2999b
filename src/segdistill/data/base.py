"""What a data set is: samples of image and label, with class names and colours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml
from torch import Tensor

IGNORE_INDEX = 255
"""The label of void pixels in every data set of this library; no loss and no metric sees them."""


@dataclass(frozen=True)
class Sample:
    """One image and its label.

    image: uint8 (3,H,W), RGB. label: uint8 (H,W), class index or `IGNORE_INDEX`. name: the file's stem.
    """

    image: Tensor
    label: Tensor
    name: str


@dataclass(frozen=True)
class Classes:
    """Names and RGB colours of the K classes, in index order."""

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]

    def __len__(self) -> int:
        return len(self.names)


def unnamed_classes(count: int) -> Classes:
    """Classes of a network that came without names: LABEL_0, LABEL_1, ..., as Hugging Face calls them."""
    return Classes(tuple(f"LABEL_{index}" for index in range(count)), distinct_colours(count))


class SegmentationDataset(ABC):
    """A map from index to `Sample`; pure: the same index always gives the same sample."""

    classes: Classes

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...

    def name(self, index: int) -> str:
        """The name of the sample at `index`."""
        return self[index].name


@cache
def label_file(name: str) -> dict[str, Any]:
    """`data/labels/<name>.yaml` as it stands; see `data.tables`."""
    text = resources.files("segdistill.data").joinpath("labels", f"{name}.yaml").read_text(encoding="utf-8")
    tree: dict[str, Any] = yaml.safe_load(text)
    return tree


def distinct_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """`count` colours for classes that have none: the bit-interleaved Pascal VOC map, without its black."""

    def colour(index: int) -> tuple[int, int, int]:
        r = g = b = 0
        for shift in range(7, -1, -1):
            r |= (index & 1) << shift
            g |= (index >> 1 & 1) << shift
            b |= (index >> 2 & 1) << shift
            index >>= 3
        return r, g, b

    return tuple(colour(index + 1) for index in range(count))
