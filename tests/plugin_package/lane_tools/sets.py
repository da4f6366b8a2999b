"""A data set."""

from __future__ import annotations

from typing import Literal

import torch

from segdistill import SegmentationDataset
from segdistill.core.classes import Classes
from segdistill.data.base import Sample


class Lanes(SegmentationDataset):
    """Bright lanes on a dark road.

    Args:
        split: "train" or "val".
        count: How many images each has.
    """

    classes = Classes(("road", "lane"), ((90, 90, 90), (250, 250, 0)))

    def __init__(self, *, split: Literal["train", "val"] = "train", count: int = 6) -> None:
        self.split, self.count = split, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        label = torch.zeros(32, 48, dtype=torch.uint8)
        label[:, 10 + index : 14 + index] = 1
        return Sample((label * 200 + 20).expand(3, 32, 48).contiguous(), label, f"{self.split}-{index}")
