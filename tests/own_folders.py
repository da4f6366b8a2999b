"""Folders of tiny images and masks, as users have them, and what the data set makes of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from segdistill.data import DatasetConfig, SegmentationDataset, create_dataset
from segdistill.data.datasets.streets import Streets

CLASSES = ["road", "car", "tree"]
Split = Literal["train", "val"]


def image(path: Path, red: int = 0, size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (red, 0, 0)).save(path)


def mask(path: Path, values: list[Any], dtype: type = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([values] * 4, dtype)).save(path)


def pair(root: Path, values: list[Any], dtype: type = np.uint8) -> Path:
    """images/a.png and masks/a.png in the training folder."""
    image(root / "train" / "images" / "a.png")
    mask(root / "train" / "masks" / "a.png", values, dtype)
    return root


def without_masks(root: Path) -> dict[str, Any]:
    """Six generated scenes without masks, and the recipe's section that reads them."""
    (root / "images").mkdir(parents=True)
    scenes = Streets(size=(32, 48), count=6)
    for index in range(6):
        Image.fromarray(scenes[index].image.permute(1, 2, 0).numpy()).save(root / "images" / f"{index}.png")
    return {"name": "folder", "root": str(root), "classes": list(Streets.classes.names), "labels": "none"}


def open_folder(root: Path, split: Split = "train", **options: Any) -> SegmentationDataset:
    tree = {"name": "folder", "root": root, "classes": CLASSES, **options}
    return create_dataset(DatasetConfig.model_validate(tree), split)


def row(dataset: SegmentationDataset) -> list[int]:
    return dataset[0].label[0].tolist()


def names_of(dataset: SegmentationDataset) -> list[str]:
    return [dataset[index].name for index in range(len(dataset))]


def says_in_order(*parts: object) -> str:
    return "(?s)" + ".*".join(re.escape(str(part)) for part in parts)


def values_of(path: Path) -> list[list[int]]:
    """The values of a mask, row by row."""
    with Image.open(path) as picture:
        assert picture.mode == "L"
        return np.asarray(picture).tolist()
