"""Which files are where: the same picture in both splits, images without masks, masks without images, empty files."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from segdistill.core.findings import Finding, shortened
from segdistill.data.base import SegmentationDataset
from segdistill.data.datasets.folder import Folder
from segdistill.data.formats import IMAGE_SUFFIXES
from segdistill.data.own_folder.templates import files_below
from segdistill.data.pairs import FilePairs, Pair, names_in
from segdistill.diagnosis.opening import Split

_NO_DATA = {"", ".txt", ".md", ".db", ".ini", ".html", ".log"}
"""Suffixes of files that lie about in any folder."""
_LEAK = 0.01  # of the validation images


def list_findings(data: Mapping[str, FilePairs], incomplete: bool) -> Iterator[Finding]:
    """What the lists of files tell.

    Args:
        data: the splits by name.
        incomplete: whether files are missing, so that those without a partner matter.

    Yields:
        Findings.
    """
    if {"train", "val"} <= data.keys():
        yield from _twice(data["train"], data["val"])
    searched = [folder for split in data.values() if isinstance(split, Folder) for folder in split.searched or ()]
    used = {path for split in data.values() for pair in split.pairs for path in pair if path is not None}
    if searched:
        yield from _untaken(searched, used, incomplete)
        return
    images, masks = _lone([pair for split in data.values() for pair in split.pairs])
    for what, lone in (("image files have no mask", images), ("masks have no image", masks)):
        if lone:
            yield Finding(
                "warning" if incomplete else "note",
                "files",
                f"{len(lone)} {what} or are on no list: {shortened([path.name for path in lone])}.",
                "Add what is missing, or take them away." if incomplete else "",
                tuple(map(str, lone)),
            )


def understood(data: Mapping[Split, SegmentationDataset]) -> Iterator[Finding]:
    """What was not said of a data set and had to be understood.

    Args:
        data: the splits by name.

    Yields:
        Findings, one for what is the same in both splits.
    """
    notes = {split: each.notes for split, each in data.items()}
    for note in dict.fromkeys(note for each in notes.values() for note in each):
        splits = [split for split, each in notes.items() if note in each]
        yield Finding("note", splits[0] if len(splits) == 1 else "data", note)


def _untaken(folders: Sequence[Path], used: set[Path], incomplete: bool) -> Iterator[Finding]:
    """Files in the folders that were searched, which no template, list or split takes."""
    left: dict[Path, list[Path]] = {}
    looked: set[Path] = set()
    for folder in dict.fromkeys(folders):
        for path in files_below(folder):
            if path not in used and path not in looked and path.suffix.lower() not in _NO_DATA:
                left.setdefault(folder, []).append(path)
            looked.add(path)
    for folder, files in left.items():
        kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(path.suffix for path in files).most_common(5))
        yield Finding(
            "warning" if incomplete else "note",
            "files",
            f"{len(files)} files in {folder} are in no split, have no partner or fit no rule ({kinds}): "
            f"{shortened([path.relative_to(folder).as_posix() for path in files], 2)}.",
            "Add what is missing, or take them away." if incomplete else "",
            tuple(map(str, files)),
        )


def also_validated(images: Sequence[Path], val: FilePairs) -> list[str]:
    """Validation images whose content is among others, whatever their names.

    Args:
        images: the others.
        val: the validation images.

    Returns:
        "VALIDATION = OTHER" for each.
    """
    by_size: dict[int, list[Path]] = {}
    for image in images:
        by_size.setdefault(_size(image), []).append(image)
    by_content: dict[bytes, Path] = {}
    hashed: set[int] = set()
    same: list[str] = []
    for image, _ in val.pairs:
        size = _size(image)
        if size <= 0 or size not in by_size:
            continue
        if size not in hashed:  # only files of one size can be equal
            hashed.add(size)
            by_content.update({_digest(path): path for path in by_size[size]})
        twin = by_content.get(_digest(image))
        if twin is not None:
            same += [f"{image} = {twin}"]
    return same


def _twice(train: FilePairs, val: FilePairs) -> Iterator[Finding]:
    """Validation images that are trained on: of the same content, whatever their names, or of the same name."""
    same = also_validated([image for image, _ in train.pairs], val)
    if same:
        yield Finding(
            "problem" if len(same) > _LEAK * len(val) else "warning",
            "files",
            f"{len(same)} of {len(val)} validation images are training images as well, first {same[0]}.",
            "Take them out of one of the two: validation would praise what was memorised.",
            tuple(same),
        )
    trained = {image.name for image, _ in train.pairs}
    named = [image for image, _ in val.pairs if image.name in trained]
    if len(named) > len(same):
        yield Finding(
            "note",
            "files",
            f"{len(named)} validation images have the name of a training image and {len(same)} its content.",
            files=tuple(map(str, named)),
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _digest(path: Path) -> bytes:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    except OSError:
        return os.fsencode(path)


def _lone(pairs: list[Pair]) -> tuple[list[Path], list[Path]]:
    """Files beside those of the pairs, named like them, that are in no pair: images, masks."""
    used = {path for pair in pairs for path in pair if path is not None}
    folders: tuple[set[tuple[Path, str]], set[tuple[Path, str]]] = (set(), set())
    for image, mask in pairs:
        if mask is None:
            continue
        core = len(os.path.commonprefix([image.name, mask.name]))  # noqa: RUF071  (names, letter by letter)
        for inhabited, path in zip(folders, (image, mask), strict=True):
            inhabited.add((path.parent, path.name[core:]))
    listed = [
        sorted(
            folder / name
            for folder, ending in inhabited
            for name in names_in(folder)
            if name.endswith(ending) and not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES
        )
        for inhabited in folders
    ]
    images, masks = ([path for path in dict.fromkeys(files) if path not in used] for files in listed)
    other_masks = {path for path in masks if path in set(images)}  # one folder holds both
    return [path for path in images if path not in other_masks], [path for path in masks if path not in other_masks]
