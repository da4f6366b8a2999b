"""Which files are where: the same picture in both splits, images without masks, masks without images, empty files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from segdistill.core.findings import Finding, shortened
from segdistill.data.pairs import FilePairs, Pair, names_in
from segdistill.data.reading import IMAGE_SUFFIXES

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
    pairs = [pair for split in data.values() for pair in split.pairs]
    images, masks = _lone(pairs)
    for what, lone in (("image files have no mask", images), ("masks have no image", masks)):
        if lone:
            yield Finding(
                "warning" if incomplete else "note",
                "files",
                f"{len(lone)} {what} or are on no list: {shortened([path.name for path in lone])}.",
                "Add what is missing, or take them away." if incomplete else "",
                tuple(map(str, lone)),
            )


def _twice(train: FilePairs, val: FilePairs) -> Iterator[Finding]:
    """Validation images that are trained on: of the same content, whatever their names, or of the same name."""
    by_size: dict[int, list[Path]] = {}
    for image, _ in train.pairs:
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
