"""Masks that a tool has written as pictures, in a folder or a zip archive, with values or colors of their own."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segdistill.core.errors import DataError
from segdistill.data.annotations.base import Shape
from segdistill.data.reading import decode_mask, largest_image
from segdistill.data.values import LabelValues, Raw

NOTHING = ""
"""The label of a value that means no class."""


def labels_of(named: Iterable[tuple[int, str]], file: Path, what: str) -> dict[int, str]:
    """Which class a value of the masks means; 0, where no class has it, means none.

    Args:
        named: value and class.
        file: that says it, for the message.
        what: the values are, "value" or "color", for the message.

    Returns:
        Value -> class.

    Raises:
        DataError: two classes have one value.
    """
    labels: dict[int, str] = {}
    for value, name in named:
        if labels.setdefault(value, name) != name:
            raise DataError(
                f"{file}: the classes '{labels[value]}' and '{name}' share one {what}, so masks can't tell them apart. "
                "Give each its own in the labelling tool, and export anew."
            )
    labels.setdefault(0, NOTHING)
    return labels


@dataclass(frozen=True)
class MaskFile(Shape):
    """A whole mask, whose values say the classes.

    Attributes:
        path: of the picture, or of the archive that holds it.
        labels: value, or color as 0xRRGGBB, -> class.
        member: its name in the archive; "" without one.
        colors: whether it is painted in colors.
    """

    path: Path
    labels: Mapping[int, str]
    member: str = ""
    colors: bool = False

    def paint(self, raw: Raw, values: Mapping[str, int]) -> None:
        """Write the values of all classes.

        Args:
            raw: the mask (H,W) that is drawn.
            values: class name -> value.
        """
        named = self.path / self.member if self.member else self.path
        try:
            seen, _ = decode_mask(self._content(), self.path, self.colors, "ignore")
        except DataError as error:
            raise ValueError(f"{self.member}: {error}" if self.member else str(error)) from error
        if seen.shape != raw.shape:
            (height, width), (rows, columns) = seen.shape, raw.shape
            raise ValueError(f"mask {named} is {width}x{height} pixels (width x height), the image {columns}x{rows}")
        keys, places = np.unique(seen, return_inverse=True)
        unknown = [int(key) for key in keys if int(key) not in self.labels]
        if unknown:
            listed = LabelValues(dict.fromkeys(self.labels, 0), colors=self.colors)
            raise ValueError(f"mask {named} holds {listed.listed(unknown)}; expected {listed.listed([*self.labels])}")
        labels = [self.labels[int(key)] for key in keys]
        raw[:] = np.array([values[label] if label else 0 for label in labels], raw.dtype)[places].reshape(raw.shape)

    def _content(self) -> bytes:
        if not self.member:
            return self.path.read_bytes()
        try:
            with zipfile.ZipFile(self.path) as archive:
                size = archive.getinfo(self.member).file_size
                if size > 4 * largest_image():
                    raise ValueError(f"{self.member} in {self.path} unpacks to {size} bytes")
                return archive.read(self.member)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError) as error:
            raise ValueError(f"{self.member} in {self.path} is damaged ({error})") from error
