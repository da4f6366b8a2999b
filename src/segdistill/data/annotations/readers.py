"""Which reader a labelling tool's files need: by what is in them, not by their names."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

from segdistill.core.errors import DataError
from segdistill.core.storage import stamp
from segdistill.data.annotations import (
    coco,
    coco_panoptic,
    cvat,
    cvat_masks,
    label_studio,
    labelme,
    roboflow,
    supervisely,
    yolo,
)
from segdistill.data.annotations.base import Annotations
from segdistill.data.annotations.source import Source

Format = Literal[
    "auto", "coco", "labelme", "yolo", "cvat", "cvat_masks", "coco_panoptic", "label_studio", "roboflow", "supervisely"
]
"""What `data.format` may be."""


class Reader(Protocol):
    """A module of this package that reads one format."""

    TITLE: str

    def recognizes(self, source: Source) -> bool:
        """Whether the files are of this format; damaged ones of it as well.

        Args:
            source: what `data.masks` names; only its beginning is read where that is enough.
        """

    def read(self, source: Source) -> Annotations:
        """All that the files say.

        Args:
            source: of this format.

        Returns:
            A drawing of each image.

        Raises:
            DataError: one is damaged; the message names it.
        """


READERS: dict[str, Reader] = {
    "coco": coco,
    "labelme": labelme,
    "yolo": yolo,
    "cvat": cvat,
    "cvat_masks": cvat_masks,
    "coco_panoptic": coco_panoptic,
    "label_studio": label_studio,
    "roboflow": roboflow,
    "supervisely": supervisely,
}
"""Format -> its reader, in the order they are asked."""


_NAMING = {".yaml", ".yml", ".json"}
"""The endings of files above the labels that may name their classes: data.yaml, meta.json."""


def read_annotations(path: Path, root: Path, format: Format) -> Annotations:
    """The annotations of a file or folder. Those of the last few are kept: both splits of a data set need the same.

    Args:
        path: file or folder.
        root: of the data set.
        format: a name of `READERS`; "auto" recognizes it.

    Returns:
        What the files say.

    Raises:
        DataError: there is nothing, no reader knows it, or it is damaged.
    """
    if not path.exists():
        raise DataError(
            f"No file or folder {path} (data.masks). Name the file or folder of the labelling tool's export, or a "
            "template with {name} for masks."
        )
    return _read(path, root, format, _state(Source(path, root)))


def _state(source: Source) -> tuple[tuple[str, int, int], ...]:
    """What tells a changed source: size and time of its files, and of those above it that may name its classes."""
    above = [each for folder in source.folders_up[1:] for each in folder.glob("*.*") if each.suffix in _NAMING]
    return tuple(stamp(path) for path in [*source.files, *above] if path.exists())


@lru_cache(maxsize=4)
def _read(path: Path, root: Path, format: str, state: object) -> Annotations:
    source = Source(path, root)
    if format == "auto":
        fitting = {name: each for name, each in READERS.items() if each.recognizes(source)}
        if len(fitting) > 1:
            raise DataError(
                f"{path} holds files of several formats: {', '.join(fitting)}. Name the file or folder of one of them "
                "with data.masks, or say which is meant with data.format."
            )
        reader = next(iter(fitting.values()), None)
        if reader is None:
            raise DataError(
                f"{path} is of no format that is known: {_found(source)}; expected one of "
                f"{', '.join(each.TITLE for each in READERS.values())}. If it is one, it is damaged: name it with "
                f"data.format={next(iter(READERS))} to see where. Masks are a template: "
                f"data.masks='{path.name}/{{name}}'."
            )
    else:
        reader = READERS[format]
    annotations = reader.read(source)
    if not annotations.drawings:
        raise DataError(f"{path} ({reader.TITLE}) names no image. Export it anew, with the images that are labelled.")
    return annotations


def _found(source: Source) -> str:
    if not source.files:
        return "it is empty"
    first = source.files[0]
    return f"{len(source.files)} file(s), {first.name} begins {source.beginning(first)[:40]!r}"
