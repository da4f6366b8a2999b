"""What it takes to make a data set ready: archives to unpack, masks to convert, counts to check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from segdistill.preparation.archives import Archive


@dataclass(frozen=True)
class Task:
    """What `prepare` was asked for. out: where converted masks go, None for beside the originals or nowhere."""

    root: Path
    archives: Path | None
    out: Path | None
    options: dict[str, Any]
    quiet: bool


class Preparation:
    """How one data set is made ready; a subclass bears the name of its data set.

    source: where it is to be had, with what registration or licence. archives: which files are unpacked, and where to.
    """

    source: ClassVar[str]
    archives: ClassVar[tuple[Archive, ...]] = ()

    def convert(self, task: Task) -> dict[str, int]:
        """Convert what needs it: what was made -> how many files. What is there already is not made again."""
        return {}

    def settings(self, task: Task) -> dict[str, Any]:
        """Options of the data set that a recipe needs for it as it was made ready."""
        return task.options
