"""Short ways to write what a recipe names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segdistill.core.discovery import validated
from segdistill.data import DatasetConfig


def Folder(root: str | Path, **options: Any) -> DatasetConfig:
    """Your own images and masks as `data`: the data set `folder` with its options.

    Args:
        root: The folder of the data set.
        **options: Options of `folder`, as classes, images, masks and values (docs/data.md).

    Returns:
        What a recipe's `data` takes.

    Raises:
        RecipeError: An option is unknown, or its value is wrong.
    """
    return validated(DatasetConfig, {"name": "folder", "root": root, **options}, "data")
