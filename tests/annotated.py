"""Folders of tiny images with a labelling tool's files, and the index masks that the data set draws of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from own_folders import Split, image, open_folder

from segdistill.data import SegmentationDataset


def images(root: Path, *names: str, size: tuple[int, int] = (8, 6)) -> Path:
    """Images of different content and `size` (width, height) below the root."""
    for red, name in enumerate(names):
        image(root / name, red, size)
    return root


def save_json(path: Path, tree: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def annotated(root: Path, masks: str, split: Split = "val", **options: Any) -> SegmentationDataset:
    """The split of a folder with annotations; by default every second image is for validation."""
    options = {"classes": None, "masks": masks, **options}
    if "{split}" not in masks:
        options.setdefault("val_every", 2)
    return open_folder(root, split, **options)


def label_of(data: SegmentationDataset, name: str) -> Any:
    """The label of the image of that name, (H,W)."""
    index = [data.name(index) for index in range(len(data))].index(name)
    return data[index].label.numpy()


def grid(text: str) -> Any:
    """A mask drawn in letters: a digit is a class index, `.` is 0, `x` void."""
    rows = text.split()
    return np.array([[255 if each == "x" else int(each.replace(".", "0")) for each in row] for row in rows], np.uint8)


def pick(mask: Any, what: int) -> Any:
    return (mask == what).astype(np.uint8)
