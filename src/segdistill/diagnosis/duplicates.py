"""The same picture twice: in training and in validation, or with two different masks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from segdistill.core.findings import Finding, shortened
from segdistill.data.base import SegmentationDataset
from segdistill.data.pairs import FilePairs
from segdistill.diagnosis.files import PairReport
from segdistill.diagnosis.opening import Split

_LEAK = 0.01  # of the validation images


def duplicate_findings(
    data: Mapping[Split, SegmentationDataset], reports: Mapping[Split, Sequence[PairReport]]
) -> Iterator[Finding]:
    """What is there twice.

    Args:
        data: the splits by name.
        reports: what was seen of those images that were read, by split.

    Yields:
        Findings.
    """
    train, val = data.get("train"), data.get("val")
    if train is not None and val is not None:
        of_files = isinstance(train, FilePairs) and isinstance(val, FilePairs)
        names = [image for image, _ in train.pairs] if isinstance(train, FilePairs) and of_files else []
        same = also_validated(names, reports["train"], val, reports["val"])
        if same:
            yield Finding(
                "problem" if len(same) > _LEAK * len(val) else "warning",
                "files",
                f"{len(same)} of {len(val)} validation images are training images as well, first {same[0]}.",
                "Take them out of one of the two: validation would praise what was memorised.",
                tuple(same),
            )
        if isinstance(train, FilePairs) and isinstance(val, FilePairs):
            yield from _of_one_name(train, val, len(same))
    for split, seen in reports.items():
        differing = _labelled_in_two_ways(seen)
        if differing:
            yield Finding(
                "warning",
                split,
                f"{len(differing)} images are there twice, with masks that differ: {shortened(differing, 2)}.",
                "Keep the right mask of each: no network can learn both.",
                tuple(differing),
            )


def also_validated(
    images: Sequence[Path], seen: Sequence[PairReport], val: SegmentationDataset, seen_val: Sequence[PairReport]
) -> list[str]:
    """Validation images that are among others: whose files are equal, whatever their names, or whose pixels are.

    Args:
        images: files of the others; all are compared.
        seen: what was seen of those of the others that were read; their pixels are compared.
        val: the validation images.
        seen_val: what was seen of those that were read.

    Returns:
        "VALIDATION = OTHER" for each.
    """
    equal = _equal_files(images, [image for image, _ in val.pairs]) if isinstance(val, FilePairs) else {}
    first = _first_of(seen)
    for look in seen_val:
        if look.pixels is not None and look.pixels in first:
            equal.setdefault(look.image, first[look.pixels].image)
    return [f"{image} = {other}" for image, other in equal.items()]


def _equal_files(images: Sequence[Path], validated: Sequence[Path]) -> dict[str, str]:
    """Validation image -> an image whose file has the same bytes. Only files of one size can be equal."""
    by_size: dict[int, list[Path]] = {}
    for image in images:
        by_size.setdefault(_size(image), []).append(image)
    by_content: dict[bytes, Path] = {}
    hashed: set[int] = set()
    equal: dict[str, str] = {}
    for image in validated:
        size = _size(image)
        if size <= 0 or size not in by_size:
            continue
        if size not in hashed:
            hashed.add(size)
            by_content.update({_digest(path): path for path in by_size[size]})
        other = by_content.get(_digest(image))
        if other is not None:
            equal[str(image)] = str(other)
    return equal


def _of_one_name(train: FilePairs, val: FilePairs, same: int) -> Iterator[Finding]:
    trained = {image.name for image, _ in train.pairs}
    named = [image for image, _ in val.pairs if image.name in trained]
    if len(named) > same:
        yield Finding(
            "note",
            "files",
            f"{len(named)} validation images have the name of a training image and {same} its content.",
            files=tuple(map(str, named)),
        )


def _labelled_in_two_ways(seen: Sequence[PairReport]) -> list[str]:
    """ "IMAGE = OTHER" of those with equal pixels whose masks differ in how many pixels have which value."""
    first = _first_of([look for look in seen if look.raw is not None])
    return [
        f"{look.image} = {other.image}"
        for look in seen
        if look.pixels is not None and look.raw is not None and look.raw != (other := first[look.pixels]).raw
    ]


def _first_of(seen: Sequence[PairReport]) -> dict[bytes, PairReport]:
    """Digest of pixels -> the first image that has it."""
    return {look.pixels: look for look in reversed(seen) if look.pixels is not None}


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
