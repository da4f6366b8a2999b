"""What every writer is given: an image and the mask that was predicted for it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

import numpy as np
from PIL import Image

from segdistill.core.colors import Pixels
from segdistill.core.storage import write_aside
from segdistill.reporting.label_files.regions import Mask


@dataclass(frozen=True)
class Labelled:
    """A predicted image.

    Attributes:
        image: Its file.
        below: Its path below the folder that was predicted, or its name.
        name: What its files are called, without suffix.
        file: The index mask, a PNG.
    """

    image: Path
    below: PurePosixPath
    name: PurePosixPath
    file: Path

    def mask(self) -> Mask:
        """Class indices or void, (H,W)."""
        with Image.open(self.file) as picture:
            return np.array(picture, np.uint8)


def hexadecimal(color: tuple[int, int, int] | Pixels) -> str:
    """A color as #rrggbb.

    Args:
        color: r, g, b from 0 to 255.
    """
    red, green, blue = (int(part) for part in color)
    return f"#{red:02x}{green:02x}{blue:02x}"


def write_list(file: TextIO, values: Iterable[Any]) -> None:
    """Write values one a line as a JSON list, however many they are.

    Args:
        file: That is written.
        values: Plain values.
    """
    file.write("[")
    for number, value in enumerate(values):
        file.write(f"{',' if number else ''}\n{json.dumps(value, ensure_ascii=False)}")
    file.write("\n]")


def write_file(path: Path, write: Any) -> list[Path]:
    """Write a text file aside and rename it.

    Args:
        path: Of the file.
        write: Is given the open file.

    Returns:
        The path in a list.
    """

    def fill(aside: Path) -> None:
        with aside.open("w", encoding="utf-8") as file:
            write(file)

    write_aside(path, fill)
    return [path]
