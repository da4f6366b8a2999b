"""Which files are where: images without masks, masks without images, files that nothing takes."""

from __future__ import annotations

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


def list_findings(data: Mapping[str, FilePairs], incomplete: bool) -> Iterator[Finding]:
    """What the lists of files tell.

    Args:
        data: the splits by name.
        incomplete: whether files are missing, so that those without a partner matter.

    Yields:
        Findings.
    """
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
