"""What a data set is: samples of image and label, with class names and colors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import torch
import yaml
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX, Classes
from segdistill.core.pixels import RGB_BYTES, PixelFormat


@dataclass(frozen=True)
class Sample:
    """One image and its label.

    Attributes:
        image: uint8 (3,H,W), RGB; or as the `PixelFormat` of its data set says, (C,H,W), uint8 or float32 in [0,1].
        label: uint8 (H,W), class index or `IGNORE_INDEX`.
        name: the file's stem.
        labeled: False for an image without a mask, whose label is all void.
    """

    image: Tensor
    label: Tensor
    name: str
    labeled: bool = True


class SegmentationDataset(ABC):
    """A map from index to `Sample`; pure: the same index always gives the same sample.

    A subclass in `data/datasets` bears its module's name; its keyword arguments are the options of a recipe's section
    `data`. It sets `classes` and defines `__len__` and `__getitem__`, which raises `DataError` for what can't be read.

    Attributes:
        classes: names and colors of the K classes.
        pixels: what the images are; RGB of 8 bits unless a data set says otherwise.
        notes: how files were understood where nothing said it, in sentences that `train` and `doctor` print.
    """

    classes: Classes
    pixels: PixelFormat = RGB_BYTES
    notes: Sequence[str] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...

    def is_labeled(self, index: int) -> bool:
        """Whether a sample has a mask, without reading it; see `Sample.labeled`.

        Args:
            index: From 0 to len - 1.
        """
        return True

    def without_mask(self, index: int) -> Sample:
        """A sample as if it had no mask, which is not read where the data set can.

        Args:
            index: From 0 to len - 1.
        """
        sample = self[index]
        return replace(sample, label=torch.full_like(sample.label, IGNORE_INDEX), labeled=False)

    def name(self, index: int) -> str:
        """The name of a sample, without reading it where the data set can.

        Args:
            index: from 0 to len - 1.

        Returns:
            The stem of the image's file.
        """
        return self[index].name


@cache
def label_file(name: str) -> dict[str, Any]:
    """`data/labels/<name>.yaml` as it stands; see `data.tables`.

    Args:
        name: of the file, without its suffix.

    Returns:
        The mapping of the file.
    """
    text = resources.files("segdistill.data").joinpath("labels", f"{name}.yaml").read_text(encoding="utf-8")
    tree: dict[str, Any] = yaml.safe_load(text)
    return tree
