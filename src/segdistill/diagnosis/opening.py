"""Making the splits of a data set although something is missing, so that all the rest is looked at, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from segdistill.core.discovery import options_of, pick
from segdistill.core.errors import DataError
from segdistill.core.findings import Finding
from segdistill.data import DATASETS, DatasetConfig, SegmentationDataset, create_dataset
from segdistill.data.pairs import FilePairs

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")


def open_split(config: DatasetConfig, split: Split) -> tuple[SegmentationDataset | None, list[Finding]]:
    """Open a split as far as it goes, without the pairs of which a file is missing.

    Args:
        config: the data set.
        split: of it.

    Returns:
        The split, None if it can't be opened at all; and what is wrong with it.
    """
    try:
        data = create_dataset(config, split)
        return data, list(_empty(data, split))
    except DataError as error:
        finding = Finding("problem", split, str(error))
    cls = pick(DATASETS, SegmentationDataset, config.name, "data set")
    if "partial" not in options_of(cls).model_fields:
        return None, [finding]
    try:
        data = create_dataset(DatasetConfig(**{**config.model_dump(), "partial": True}), split)
    except DataError:
        return None, [finding]
    return data, [finding, *_empty(data, split)]


def _empty(data: SegmentationDataset, split: str) -> Iterator[Finding]:
    """Files of no bytes, among all of the split and not only those that are read."""
    if not isinstance(data, FilePairs):
        return
    empty = [str(path) for pair in data.pairs for path in pair if path is not None and _has_no_bytes(path)]
    if empty:
        text = f"{len(empty)} files are empty (0 bytes), first {empty[0]}."
        yield Finding("problem", split, text, "Replace them, or take them off the list.", tuple(empty))


def _has_no_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError:
        return False
