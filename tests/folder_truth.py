"""A small data set on the disk, and whether it is read as it was meant."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segdistill.core.errors import SegdistillError
from segdistill.data import DatasetConfig, SegmentationDataset, create_dataset

Split = Literal["train", "val"]
Label = NDArray[np.uint8]


@dataclass
class Made:
    """A data set on the disk. options: what the recipe says. truth: split -> image below the root -> label."""

    root: Path
    options: dict[str, Any]
    truth: dict[Split, dict[str, Label]] = field(default_factory=dict)


def open_made(made: Made, split: Split) -> SegmentationDataset:
    tree = {"name": "folder", "root": made.root, **made.options}
    return create_dataset(DatasetConfig.model_validate(tree), split)


def mistakes(made: Made) -> list[str]:
    """What of a data set is read otherwise than it was meant; nothing if it is right."""
    wrong: list[str] = []
    expected = {name for each in made.truth.values() for name in each}
    truth = {name: label for each in made.truth.values() for name, label in each.items()}
    seen: set[str] = set()
    for split in ("train", "val"):
        data: Any = open_made(made, split)
        names = [image.relative_to(made.root).as_posix() for image, _ in data.pairs]
        if "val_fraction" not in made.options and set(names) != set(made.truth[split]):
            wrong.append(f"{split} has {sorted(names)}, not {sorted(made.truth[split])}")
        if len(set(names)) != len(names) or seen & set(names):
            wrong.append(f"an image is there twice: {names}, {seen}")
        seen |= set(names)
        for index, name in enumerate(names):
            if not np.array_equal(data[index].label.numpy(), truth[name]):
                wrong.append(f"{name} has {data[index].label.tolist()}, not {truth[name].tolist()}")
    if seen != expected:
        wrong.append(f"{sorted(expected - seen)} are in no split, {sorted(seen - expected)} are not of the set")
    return wrong


def refused(made: Made) -> str:
    """The message with which a data set is refused; "" if all of it is read."""
    try:
        for split in ("train", "val"):
            data = open_made(made, split)
            for index in range(len(data)):
                data[index]
    except SegdistillError as error:
        return str(error)
    return ""
