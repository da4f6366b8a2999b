"""What it takes to make a data set ready: archives to unpack, masks to convert, counts to check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from segdistill.core.discovery import check_options
from segdistill.data.base import SegmentationDataset
from segdistill.preparation.archives import Archive

D = TypeVar("D", bound=SegmentationDataset)


@dataclass(frozen=True)
class Task:
    """What `prepare` was asked for.

    Attributes:
        root: the folder of the data set.
        archives: the folder with downloads to unpack, if any.
        out: where converted masks go; None for the data set's own place, if it has one.
        options: of the data set's class.
        quiet: show no progress.
    """

    root: Path
    archives: Path | None
    out: Path | None
    options: dict[str, Any]
    quiet: bool

    def splits(self, dataset: type[D]) -> dict[str, D]:
        """The training and validation images, by "train" and "val".

        Args:
            dataset: the data set's class.

        Raises:
            DataError: its files are missing or damaged.
        """
        given = {split: {**self.options, "root": self.root, "split": split} for split in ("train", "val")}
        return {split: dataset(**check_options(dataset, options, "data")) for split, options in given.items()}


class Preparation:
    """How one data set is made ready; a subclass bears the name of its data set.

    Attributes:
        source: where it is to be had, with what registration or licence.
        archives: which files are unpacked, and where to.
    """

    source: ClassVar[str]
    archives: ClassVar[tuple[Archive, ...]] = ()

    def convert(self, task: Task) -> dict[str, int]:
        """Convert what needs it; what is there already is not made again. Without a subclass's own: nothing.

        Args:
            task: what was asked for.

        Returns:
            What was made -> how many files.

        Raises:
            DataError: a file can't be read or holds something else.
            SegdistillError: a file can't be written.
        """
        return {}

    def settings(self, task: Task) -> dict[str, Any]:
        """Options of the data set that a recipe needs for it as it was made ready.

        Args:
            task: what was asked for.

        Returns:
            Option -> value: those that were given, and others where the defaults don't do.
        """
        return task.options

    def made(self, task: Task) -> tuple[str, Path] | None:
        """The data set that `convert` has made, where that is another one.

        Args:
            task: what was asked for.

        Returns:
            Its name, as "folder", and its root; None: it is the same one.
        """
        return None
