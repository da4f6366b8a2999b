"""Folders that are named after a split: train, val, valid, validation, test."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from segdistill.core.errors import DataError

SPLIT_OF = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""What a folder's name says of the images in it, whatever its case."""

_REMEDY = (
    "Rename folders, or say which images are for validation: data.val_pattern='val/*', data.lists, or "
    "data.val_every=5, which splits all of them anew."
)


def folder_of(split: str, parent: Path) -> str | None:
    """The name of the folder of a split.

    Args:
        split: "train" or "val".
        parent: the folder that it lies in.

    Returns:
        The split's own name if there is such a folder, else that of a folder with the same meaning, as "valid"; None
        if there is none.

    Raises:
        DataError: several have that meaning.
    """
    if (parent / split).is_dir():
        return split
    try:
        with os.scandir(parent) as entries:
            folders = [entry.name for entry in entries if entry.is_dir()]
    except OSError:
        return None
    named = sorted(name for name in folders if SPLIT_OF.get(name.lower()) == split)
    if len(named) > 1:
        raise DataError(f"{parent} holds {named[0]} and {named[1]}; which of them is the {split} split? {_REMEDY}")
    return named[0] if named else None


def split_by_folders(names: Sequence[str], where: Path) -> dict[str, list[str]] | None:
    """The names of each split, where the folders in them say which it is: train/a and valid/b.

    Args:
        names: of images, with their folders.
        where: the folder that the names are below, for the message.

    Returns:
        "train", "val" and perhaps "test" -> names; None if no folder is named after a split.

    Raises:
        DataError: only some images lie in such folders, two folders mean the same, or one split has none.
    """
    places = {depth for name in names for depth, part in enumerate(name.split("/")[:-1]) if part.lower() in SPLIT_OF}
    if not places:
        return None
    depth = min(places)
    words: dict[str, str] = {}  # split -> the folder's name
    by_split: dict[str, list[str]] = {}
    for name in names:
        parts = name.split("/")[:-1]
        word = parts[depth] if depth < len(parts) else ""
        split = SPLIT_OF.get(word.lower())
        if split is None:
            one = next(other for other in names if {part.lower() for part in other.split("/")[:-1]} & SPLIT_OF.keys())
            raise DataError(
                f"Some images in {where} lie in folders named after a split, as {one}, and some do not, as {name}: it "
                f"is not certain what the others are for. {_REMEDY}"
            )
        if words.setdefault(split, word) != word:
            raise DataError(f"{where} holds {words[split]} and {word}; which of them is the {split} split? {_REMEDY}")
        by_split.setdefault(split, []).append(name)
    for split in ("train", "val"):
        if split not in by_split:
            shown = ", ".join(sorted(words.values()))
            raise DataError(f"{where} holds folders named after splits ({shown}), but none for {split}. {_REMEDY}")
    return by_split
