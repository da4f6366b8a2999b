"""YOLO-seg: a text file a picture, class number and corners as shares of the image's sides; names in data.yaml.

Format: docs.ultralytics.com, "Instance segmentation datasets": lines `class x1 y1 x2 y2 ..`; no file where there is no
object; data.yaml with `names`.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from segdistill.core.errors import DataError
from segdistill.data.annotations.base import Annotations, Drawing, Shape, damaged
from segdistill.data.annotations.shapes import Polygon, box
from segdistill.data.annotations.source import Source
from segdistill.data.own_folder.class_files import yolo_names

TITLE = "YOLO-seg"
_LINE = re.compile(r"\d+( [-+.\deE]+){4,}")
_LISTS = {"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt"}


def recognizes(source: Source) -> bool:
    """Whether a source is YOLO's, by the first line of its texts.

    Args:
        source: whose .txt files are looked at, up to one that is not empty and no list of images.
    """
    for path in source.of(".txt"):
        first = source.beginning(path).strip().partition("\n")[0]
        if _is_label(first):
            return True
        if first and path.name not in _LISTS:
            return False
    return False


def _is_label(line: str) -> bool:
    return _LINE.fullmatch(" ".join(line.split())) is not None


def read(source: Source) -> Annotations:
    """The pictures of a folder of labels.

    Later lines are drawn over earlier ones; a line of five numbers is a box.

    Args:
        source: the folder; data.yaml (any YAML with `names`) is in it, or up to the root above it.

    Returns:
        A drawing for each file of labels.

    Raises:
        DataError: a line is damaged, or no file names the classes.
    """
    names = _names(source)
    drawings, boxes = [], 0
    for file in source.of(".txt"):
        lines = _lines(file)
        first = next(filter(str.strip, lines), "")
        if file.name in _LISTS and first and not _is_label(first):
            continue  # a list of images or classes; a picture may be called so, too
        boxes += sum(len(line.split()) == 5 for line in lines)
        shapes = [_shape(line, names, file, number) for number, line in enumerate(lines, 1) if line.strip()]
        drawings.append(Drawing(file, (file.relative_to(source.folder).with_suffix("").as_posix(),), shapes))
    notes = (f"{boxes} lines of {source.path} are boxes, and drawn as rectangles.",) if boxes else ()
    return Annotations("yolo", TITLE, source.path, tuple(names), drawings, notes=notes)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(file, TITLE, error, "lines 'class x y x y ..'") from error


def _names(source: Source) -> list[str]:
    """The names of the nearest YAML with `names`."""
    for place in source.folders_up:
        for path in sorted([*place.glob("*.yaml"), *place.glob("*.yml")]):
            try:
                names = yolo_names(path)
            except yaml.YAMLError as error:
                raise DataError(f"{path} is not valid YAML: {error}") from error
            if names:
                return names
    raise DataError(
        f"{source.path} is {TITLE} labels, whose classes are numbers, and no YAML file in it or up to {source.root} "
        "names them. Put the export's data.yaml there (names: [road, car])."
    )


def _shape(line: str, names: list[str], file: Path, number: int) -> Shape:
    try:
        words = line.split()
        index, at = int(words[0]), [float(word) for word in words[1:]]
    except ValueError as error:
        raise damaged(file, TITLE, f"line {number} is {line[:60]!r}", "'class x y x y ..'") from error
    if not 0 <= index < len(names):
        raise damaged(file, TITLE, f"line {number} is of class {index}", f"one of {len(names)} classes, from 0")
    if len(at) == 4:
        x, y, width, height = at
        at = box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if len(at) < 6 or len(at) % 2 or not all(-0.01 <= each <= 1.01 for each in at):
        raise damaged(file, TITLE, f"line {number} is {line[:60]!r}", "x, y from 0 to 1 of three corners or more")
    return Polygon(names[index], [at], relative=True)
