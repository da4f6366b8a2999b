"""Which module writes which format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from segdistill.core.classes import Classes
from segdistill.core.errors import DataError
from segdistill.core.storage import write_text
from segdistill.reporting.label_files import coco, cvat, labelme, labelstudio
from segdistill.reporting.label_files.base import Labelled
from segdistill.reporting.label_files.settings import LabelFormat


class Writer(Protocol):
    """A module of this package that writes one format."""

    def write(self, predicted: Iterable[Labelled], classes: Classes, out: Path) -> list[Path]:
        """Write the files of all images.

        Args:
            predicted: The images; each mask is read when its turn comes.
            classes: Whose names and colors are written.
            out: The folder that gets the files.

        Returns:
            The files.
        """


WRITERS: dict[LabelFormat, Writer] = {"coco": coco, "labelme": labelme, "cvat": cvat, "labelstudio": labelstudio}
"""Format -> what writes it; masks are all that "masks" writes."""


def write_labels(format: LabelFormat, predicted: Sequence[Labelled], classes: Classes, out: Path) -> list[Path]:
    """Write the labels of all images, and classes.txt.

    Args:
        format: As of `LabelSettings`.
        predicted: The images.
        classes: Their classes.
        out: The folder.

    Returns:
        The files.
    """
    names = out / "classes.txt"
    write_text(names, "".join(f"{name}\n" for name in classes.names))
    return [*(WRITERS[format].write(predicted, classes, out) if format in WRITERS else ()), names]


def refuse_equal_names(format: LabelFormat, below: Iterable[Path | object]) -> None:
    """Refuse images that one file of labels would call the same.

    Args:
        format: As of `LabelSettings`.
        below: Their paths below the folders that were named.

    Raises:
        DataError: Two are equal.
    """
    name, count = next(iter(Counter(map(str, below)).most_common(1)), ("", 0))
    if count > 1 and format in ("coco", "cvat", "labelstudio"):
        raise DataError(
            f"{count} images are called {name} below their folders, and format={format} tells images apart by that. "
            "Name the folder above them, or predict each folder into an out of its own."
        )
