"""Which images of your own folder are for training and which for validation."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from segdistill.core.errors import DataError
from segdistill.core.paths import as_spelled, composed, expanded
from segdistill.data.own_folder.names import Resolver
from segdistill.data.own_folder.split_folders import SPLIT_OF

EVERY = 5
"""Every n-th image is for validation where nothing is said."""


@dataclass(frozen=True)
class SplitRule:
    """How images without split folders are split; at most one of them is given.

    Args:
        val_every: every n-th name is for validation.
        val_fraction: the share of the names that is.
        val_pattern: names that fit one of these are, as "night/*".
        seed: settles which names `val_fraction` draws.
        lists: split -> a file that names its images.

    Raises:
        DataError: two contradict each other, or one splits nothing.
    """

    val_every: int | None
    val_fraction: float | None
    val_pattern: str | Sequence[str] | None
    seed: int
    lists: Mapping[Any, Path] | None

    def __post_init__(self) -> None:
        given = self._given()
        if len(given) > 1:
            raise DataError(
                f"{' and '.join(f'data.{key}' for key in given)} both say what is for validation. Keep one."
            )
        if self.val_every is not None and self.val_every < 2:
            raise DataError(
                f"data.val_every is {self.val_every}; expected 2 or more (every n-th image is for validation)."
            )
        if self.val_fraction is not None and not 0 < self.val_fraction < 1:
            raise DataError(f"data.val_fraction is {self.val_fraction}; expected a share between 0 and 1, as 0.2.")

    def _given(self) -> list[str]:
        return [key for key, value in vars(self).items() if key != "seed" and value is not None]

    @property
    def named(self) -> str:
        """The key of the rule or of the lists that were given, or nothing."""
        return next(iter(self._given()), "")

    @property
    def given(self) -> bool:
        """Whether a rule by name is given."""
        return (self.val_every or self.val_fraction or self.val_pattern) is not None

    def names(self, names: Sequence[str], split: str) -> list[str]:
        """The names of a split: by pattern, by a seeded share, or every n-th, by default every fifth.

        Args:
            names: of all images.
            split: "train" or "val".

        Returns:
            The names in their order.

        Raises:
            DataError: the pattern fits no image, or all.
        """
        if self.val_pattern is not None:
            patterns = [self.val_pattern] if isinstance(self.val_pattern, str) else self.val_pattern
            chosen = {name for name in names if any(fnmatchcase(name, composed(pattern)) for pattern in patterns)}
            if not chosen or len(chosen) == len(names):
                raise DataError(
                    f"data.val_pattern={list(patterns)} fits {len(chosen)} of {len(names)} images, such as "
                    f"'{names[0] if names else ''}'; expected some and not all."
                )
        elif self.val_fraction is not None:
            # By a hash of each name: the order of files does not matter, and one more image moves no other.
            ordered = sorted(names, key=lambda name: hashlib.sha256(f"{self.seed}:{name}".encode()).digest())
            chosen = set(ordered[: max(1, round(self.val_fraction * len(names)))])
        else:
            every = self.val_every or EVERY
            chosen = {name for i, name in enumerate(names) if i % every == every - 1}
        return [name for name in names if (name in chosen) == (split == "val")]


def list_files(root: Path, lists: Mapping[Any, Path] | None, by_rule: bool) -> dict[str, Path]:
    """The list file of each split that has one: those named, else train.txt and val.txt unless a rule is set.

    Args:
        root: of the data set.
        lists: split -> its list, below the root or anywhere.
        by_rule: whether another rule says what is for validation.

    Returns:
        Split -> list.

    Raises:
        DataError: two files are lists of one split, or there are lists of training and test images and none of
            validation.
    """
    if lists is not None:
        return {split: as_spelled(root / expanded(path)) for split, path in lists.items()}
    if by_rule:
        return {}
    listed: dict[str, Path] = {}
    for word, split in SPLIT_OF.items():
        file = root / f"{word}.txt"
        if not file.is_file():
            continue
        if split in listed:
            raise DataError(
                f"{listed[split]} and {file} may both be the list of the {split} split. Name one: data.lists."
            )
        listed[split] = file
    if "test" in listed and "train" in listed and "val" not in listed:
        raise DataError(
            f"{root} holds {listed['train'].name} and {listed['test'].name} but no val.txt: which images are for "
            f"validation? Say so, as data.lists={{train: {listed['train'].name}, val: {listed['test'].name}}}."
        )
    return {split: file for split, file in listed.items() if split != "test"}


def split_by_lists(resolver: Resolver, listed: Mapping[str, Path], split: str) -> list[str]:
    """The names on the list of a split, or those that the other split's list leaves.

    Args:
        resolver: of the images.
        listed: the list file of each split that has one, one or two.
        split: "train" or "val".

    Returns:
        The names.

    Raises:
        DataError: a list is missing or empty, or a line does not mean one image.
    """
    if split in listed:
        names = resolver.names_on(listed[split])
        if not names:
            raise DataError(f"The list file {listed[split]} is empty; expected one image of the {split} split a line.")
        if split == "val" and "train" in listed:
            with contextlib.suppress(DataError, OSError):  # whoever opens the training split is told
                trained = {resolver.images[name] for name in resolver.names_on(listed["train"])}
                resolver.notes += also_trained([resolver.images[name] for name in names], trained)
        return names
    (other,) = listed.values()
    taken = set(resolver.names_on(other))
    resolver.notes.append(f"The {split} split is what {other.name} leaves.")
    return [name for name in resolver.images if name not in taken]


def also_trained(validated: Sequence[Path], trained: Collection[Path]) -> list[str]:
    """What to tell of validation images that are on the list of training images as well.

    Args:
        validated: the validation images.
        trained: the training images.

    Returns:
        A note, or none if the lists share no image.
    """
    same = [image for image in validated if image in trained]
    if not same:
        return []
    return [
        f"{len(same)} of {len(validated)} validation images are training images as well, first {same[0]}. Take them "
        "out of one of the two lists: validation would praise what was memorised."
    ]
