"""What a reader makes of a labelling tool's files: for each image the shapes on it, in the order they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdistill.core.errors import DataError
from segdistill.data.values import Raw

Bits = NDArray[np.bool_]
Size = tuple[int, int]
Color = tuple[int, int, int]

BACKGROUND = "background"
"""The class of the area without a shape."""

_BACKGROUND_NAMES = {BACKGROUND, "_background_", "__background__"}


def is_background(name: str) -> bool:
    """Whether a class is what a tool calls the area without a label.

    Args:
        name: of the class.
    """
    return name.lower() in _BACKGROUND_NAMES


@dataclass(frozen=True)
class Shape:
    """An area of one class.

    Attributes:
        label: name of the class.
    """

    label: str

    def mask(self, size: Size) -> Bits:
        """The area on an image.

        Args:
            size: (H,W) of the image.

        Returns:
            (H,W), bool.

        Raises:
            ValueError: Something is wrong with it; the message says what.
        """
        raise NotImplementedError

    def paint(self, raw: Raw, values: Mapping[str, int]) -> None:
        """Write the value of its class where the shape lies.

        Args:
            raw: the mask (H,W) that is drawn.
            values: class name -> value.
        """
        height, width = raw.shape
        raw[self.mask((height, width))] = values[self.label]


@dataclass(frozen=True)
class Drawing:
    """What is drawn on one image.

    Attributes:
        file: that says it.
        images: how it names its image, the surest first.
        shapes: in drawing order.
        size: (H,W) of the image as the file says it; None if it doesn't.
        by_area: smaller shapes lie on top, whatever their order.
    """

    file: Path
    images: tuple[str, ...]
    shapes: Sequence[Shape]
    size: Size | None = None
    by_area: bool = False

    def raw(self, size: Size, values: Mapping[str, int]) -> Raw:
        """The index mask.

        Args:
            size: (H,W) of the image.
            values: class name -> value; 0 is for no shape.

        Returns:
            (H,W), uint8, or uint16 where there are more than 254 values.

        Raises:
            DataError: a shape is damaged.
        """
        raw = np.zeros(size, np.uint8 if max(values.values(), default=0) < 255 else np.uint16)
        try:
            if self.by_area:
                masks = [(shape.mask(size), values[shape.label]) for shape in self.shapes]
                for mask, value in sorted(masks, key=lambda each: -int(each[0].sum())):
                    raw[mask] = value
            else:
                for shape in self.shapes:
                    shape.paint(raw, values)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise DataError(
                f"{self.file}: a shape on {self.images[0]} can't be drawn: {error}. Export the file anew, or mend or "
                "delete the shape in the labelling tool."
            ) from error
        return raw


@dataclass(frozen=True)
class Annotations:
    """All that the files of one source say.

    Attributes:
        format: as `data.format` names it.
        title: the format's name for people.
        file: that lists the images, or the folder that was read.
        names: of the classes, in the files' order; the value of a class is its place, from 1.
        drawings: one an image.
        lists_images: whether the source names all its images, also those without a shape.
        colors: of classes, where the files say them.
        void: labels of areas that are not trained on, beside the classes.
        notes: what a user should know of how the files were read.
    """

    format: str
    title: str
    file: Path
    names: tuple[str, ...]
    drawings: Sequence[Drawing]
    lists_images: bool = False
    colors: Mapping[str, Color] = field(default_factory=dict)
    void: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def damaged(file: Path, title: str, fault: object, expected: str) -> DataError:
    """The error of a file that is not what its format says.

    Args:
        file: that was read.
        title: of the format.
        fault: what is wrong.
        expected: what belongs there.

    Returns:
        The error, to be raised.
    """
    return DataError(
        f"{file} is not whole {title}: {fault}; expected {expected}. Export it anew from the labelling tool."
    )


def entries(tree: Any, key: str, file: Path, title: str) -> list[dict[str, Any]]:
    """A list of mappings in a file.

    Args:
        tree: the mapping that has it.
        key: of the list.
        file: for the message.
        title: of the format, for the message.

    Returns:
        The list.

    Raises:
        DataError: it is missing, or something else.
    """
    value = tree.get(key) if isinstance(tree, dict) else None
    if not isinstance(value, list) or any(not isinstance(each, dict) for each in value):
        raise damaged(file, title, f"'{key}' is {str(value)[:80]}", f"a list of {{..}} under '{key}'")
    return value
