"""The class tables of `data/labels/*.yaml`: name and color of each class, and which raw mask values mean it.

    classes:
      - {name: road, id: 7, color: [128, 64, 128]}   # id: one value or a list; left out: the place in the list
    void: {0: unlabeled, 255: license plate}           # values that are not trained on, with a word on each

A class's index (train id) is its place in the list. Your own table for `data.classes` has the same form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from segdistill.core.classes import IGNORE_INDEX, Classes, as_color, distinct_colors
from segdistill.core.errors import DataError
from segdistill.core.paths import composed
from segdistill.core.safe_yaml import not_text
from segdistill.data.base import label_file
from segdistill.data.values import LabelValues


@dataclass(frozen=True)
class LabelTable:
    """The classes of a data set and what its masks' raw values mean.

    Attributes:
        classes: names and colors of the K classes.
        ids: the raw values of each class; the first is the one to write.
        void: raw values that are not trained on, with a word on each.
        source: for messages, the user's own file that they are from, as "the 3 classes of FILE".
        uncolored: classes whose color nobody named, so that it is only one to draw with.
    """

    classes: Classes
    ids: tuple[tuple[int, ...], ...]
    void: Mapping[int, str]
    source: str = ""
    uncolored: frozenset[str] = frozenset()

    def values(self, *, cause: str = "") -> LabelValues:
        """What raw mask values mean.

        Args:
            cause: what to look at when a mask holds a value that is not known.

        Returns:
            The lookup table from raw value to class index.
        """
        meaning = {value: index for index, ids in enumerate(self.ids) for value in ids}
        return LabelValues({**dict.fromkeys(self.void, IGNORE_INDEX), **meaning}, cause=cause)

    def indices(self, *, cause: str = "") -> LabelValues:
        """What mask values mean where they are the class indices already.

        Args:
            cause: what to look at when a mask holds a value that is not known.

        Returns:
            The lookup table.
        """
        return LabelValues.of_indices(len(self.classes), cause=cause)


@cache
def label_table(name: str, column: str = "id") -> LabelTable:
    """The table `data/labels/<name>.yaml`.

    Args:
        name: of the file, without its suffix.
        column: the key of each class that holds its raw values.

    Returns:
        The table.
    """
    return as_table(label_file(name), f"labels/{name}.yaml", column)


def as_table(tree: Any, source: object, column: str = "id") -> LabelTable:
    """The mapping of a table file, checked.

    Args:
        tree: what the YAML file holds.
        source: the file, for the message.
        column: the key of each class that holds its raw values.

    Returns:
        The table.

    Raises:
        DataError: it is no table of two or more classes, or two classes share a name or a value.
    """
    rows = tree.get("classes") if isinstance(tree, dict) else None
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{source}: expected a key 'classes' with a list of {{name: .., id: .., color: [r, g, b]}}.")
    colors = distinct_colors(len(rows))
    names: list[str] = []
    ids: list[tuple[int, ...]] = []
    shown: list[tuple[int, int, int]] = []
    for index, row in enumerate(rows):
        row = {"name": row} if isinstance(row, str) else row
        if not isinstance(row, dict) or not isinstance(row.get("name"), str):
            name = row.get("name") if isinstance(row, dict) else row
            why = f" {not_text(name)}" if isinstance(name, bool | int | float) else ""
            raise DataError(
                f"{source}: class {index} is {row!r}; expected {{name: .., id: .., color: [r, g, b]}}.{why}"
            )
        names.append(composed(row["name"]))
        ids.append(_whole_numbers(row.get(column, index), f"{source}: {column} of '{row['name']}'"))
        shown.append(as_color(row.get("color", colors[index]), f"{source}: color of '{row['name']}'"))
    void = tree.get("void") or {}
    numbers = _whole_numbers(list(void) if isinstance(void, dict) else void, f"{source}: void") if void else ()
    void = void if isinstance(void, dict) else dict.fromkeys(numbers, "void")
    _refuse_twice(names, ids, void, source)
    uncolored = frozenset(
        name for name, row in zip(names, rows, strict=True) if not isinstance(row, dict) or "color" not in row
    )
    return LabelTable(Classes(tuple(names), tuple(shown)), tuple(ids), void, uncolored=uncolored)


def _whole_numbers(value: Any, what: str) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, list) else (value,)
    if not values or any(type(each) is not int or not 0 <= each <= 65535 for each in values):
        raise DataError(f"{what} is {value!r}; expected a mask value from 0 to 65535, or a list of them.")
    return values


def _refuse_twice(names: list[str], ids: list[tuple[int, ...]], void: Mapping[int, str], source: object) -> None:
    owner: dict[int, str] = {}
    for name, values in zip(names, ids, strict=True):
        for value in values:
            if value in owner or value in void:
                raise DataError(f"{source}: value {value} means '{name}' and '{owner.get(value, 'void')}'. Keep one.")
            owner[value] = name
    twice = sorted({name for name in names if names.count(name) > 1})
    if len(names) < 2 or twice:
        fault = f"{twice[0]!r} twice" if twice else f"{len(names)} name(s)"
        raise DataError(f"{source}: expected two or more different class names, found {fault}.")
