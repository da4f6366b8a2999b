"""Which images of your own folder are for training and which for validation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from segdistill.core.errors import DataError
from segdistill.data.pairs import read_lines
from segdistill.data.reading import IMAGE_SUFFIXES

_EVERY = 5


def check_rules(val_every: int | None, val_fraction: float | None, val_pattern: object, lists: object) -> None:
    """Refuse rules that contradict each other or split nothing."""
    given = {"val_every": val_every, "val_fraction": val_fraction, "val_pattern": val_pattern, "lists": lists}
    named = [f"data.{key}" for key, value in given.items() if value is not None]
    if len(named) > 1:
        raise DataError(f"{' and '.join(named)} both say what is for validation. Keep one.")
    if val_every is not None and val_every < 2:
        raise DataError(f"data.val_every is {val_every}; expected 2 or more (every n-th image is for validation).")
    if val_fraction is not None and not 0 < val_fraction < 1:
        raise DataError(f"data.val_fraction is {val_fraction}; expected a share between 0 and 1, as 0.2.")


def split_by_rule(
    names: Sequence[str],
    split: str,
    *,
    val_every: int | None,
    val_fraction: float | None,
    val_pattern: Sequence[str] | None,
    seed: int,
) -> list[str]:
    """The names of a split: by pattern, by a seeded share, or every n-th.

    Args:
        names: of all images.
        split: "train" or "val".
        val_every: every n-th name is for validation; 5 if no rule is given.
        val_fraction: the share of the names that is for validation.
        val_pattern: names that fit one of these are for validation, as "night/*".
        seed: settles which names `val_fraction` draws.

    Returns:
        The names in their order.

    Raises:
        DataError: the pattern fits no image, or all.
    """
    if val_pattern is not None:
        chosen = {name for name in names if any(fnmatchcase(name, pattern) for pattern in val_pattern)}
        if not chosen or len(chosen) == len(names):
            raise DataError(
                f"data.val_pattern={list(val_pattern)} fits {len(chosen)} of {len(names)} images, such as "
                f"'{names[0] if names else ''}'; expected some and not all."
            )
    elif val_fraction is not None:
        # By a hash of each name: the order of files does not matter, and one more image moves no other.
        ordered = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
        chosen = set(ordered[: max(1, round(val_fraction * len(names)))])
    else:
        every = val_every or _EVERY
        chosen = {name for i, name in enumerate(names) if i % every == every - 1}
    return [name for name in names if (name in chosen) == (split == "val")]


def list_files(root: Path, lists: Mapping[Any, Path] | None, by_rule: bool) -> dict[str, Path]:
    """The list file of each split that has one: those named, else train.txt and val.txt unless a rule is set."""
    if lists is not None:
        return {split: root / path for split, path in lists.items()}
    return (
        {}
        if by_rule
        else {split: root / f"{split}.txt" for split in ("train", "val") if (root / f"{split}.txt").is_file()}
    )


def split_by_lists(images: Mapping[str, Path], root: Path, listed: Mapping[str, Path], split: str) -> list[str]:
    """The names on the list of a split, or those that the other split's list leaves.

    Args:
        images: the file of each name.
        root: of the data set, below which paths on a list lie.
        listed: the list file of each split that has one, one or two.
        split: "train" or "val".

    Returns:
        The names.

    Raises:
        DataError: a list is missing or empty, or names an image that is not there.
    """
    resolve = _resolver(images, root)
    if split in listed:
        names = resolve(listed[split])
        if not names:
            raise DataError(f"The list file {listed[split]} is empty; expected one image of the {split} split a line.")
        return names
    (other,) = listed.values()
    taken = set(resolve(other))
    return [name for name in images if name not in taken]


def pairs_on(file: Path, root: Path) -> list[tuple[Path, Path]] | None:
    """The pairs of a list of two columns.

    Args:
        file: the list.
        root: of the data set, below which the files lie.

    Returns:
        (image, mask) of each line; None if the list has not two columns of files.
    """
    lines = [line.split("\t") if "\t" in line else line.split() for line in read_lines(file)]
    if not lines or any(len(line) != 2 or not all(_is_image(part) for part in line) for line in lines):
        return None
    return [(root / image, root / mask) for image, mask in lines]


def _is_image(text: str) -> bool:
    return PurePosixPath(text).suffix.lower() in IMAGE_SUFFIXES


def _resolver(images: Mapping[str, Path], root: Path) -> Callable[[Path], list[str]]:
    """List file -> names: its lines may be names or paths, with or without folder and suffix."""
    by_key: dict[str, str] = {}
    for name, path in images.items():
        by_key.setdefault(PurePosixPath(name).name, name)
        if path.is_relative_to(root):
            by_key[path.relative_to(root).as_posix()] = name
    by_key.update({name: name for name in images})

    def names_on(file: Path) -> list[str]:
        lines = read_lines(file)
        resolved = [next((by_key[key] for key in _keys(line) if key in by_key), None) for line in lines]
        unknown = [PurePosixPath(line).name for line, name in zip(lines, resolved, strict=True) if name is None]
        if unknown:
            folder = next(iter(images.values())).parent if images else root
            raise DataError(f"{file} names {unknown[0]!r}, which is not in {folder} ({len(unknown)} such).")
        return [name for name in resolved if name is not None]

    return names_on


def _keys(line: str) -> list[str]:
    path = PurePosixPath(line)
    return [line, str(path.with_suffix("")) if _is_image(line) else line, path.name, path.stem]
