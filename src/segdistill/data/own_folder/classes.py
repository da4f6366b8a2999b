"""The classes of your own folder: from names or a table, colored, merged, and what the masks' values mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from segdistill.core.classes import IGNORE_INDEX, Classes, as_color, distinct_colors
from segdistill.core.errors import DataError, nearest
from segdistill.core.paths import composed
from segdistill.core.safe_yaml import read_yaml
from segdistill.data.own_folder.class_files import Row, class_file, read_rows, yolo_names
from segdistill.data.pairs import read_lines
from segdistill.data.tables import LabelTable, as_table
from segdistill.data.values import LabelValues, packed

Color = tuple[int, int, int]

_TABLE_KEYS, _CLASS_KEYS = ("classes", "void"), ("name", "id", "color")
"""What a class table and one of its classes may hold."""

_CAUSE = (
    "Check the class list; say what the value means with data.values={{value: class}}, or that it is not to be trained "
    "on with data.void=[{example}]."
)


def own_table(classes: Sequence[str] | Path | None, root: Path, colors: Mapping[str, Any] | None) -> LabelTable:
    """Class names from a list, a file (see `class_files`), or a .yaml table.

    Args:
        classes: names, or the file; None is `<root>/classes.txt`.
        root: of the data set; a relative path is looked for there too.
        colors: class -> color, over those that the file or table has; None for none.

    Returns:
        The classes, and which raw value each has.

    Raises:
        DataError: there is no such file, it can't be read as classes, or a color fits no class.
    """
    if classes is None and not (root / "classes.txt").is_file():
        read_lines(root / "classes.txt", what="class")  # says what is missing
    if classes is None or isinstance(classes, Path):
        file = class_file(classes or root / "classes.txt", root)
        table = _from_file(
            _read_table(file) if file.suffix in {".yaml", ".yml"} else _of_rows(read_rows(file), file), file
        )
    else:
        table = _of_rows([Row(composed(name)) for name in classes], None)
    return recolored(table, colors) if colors else table


def recolored(table: LabelTable, colors: Mapping[str, Any]) -> LabelTable:
    """The table with other colors for some classes.

    Args:
        table: the classes.
        colors: class -> color, as `as_color` takes it.

    Returns:
        The table.

    Raises:
        DataError: no class has such a name, or a color is none.
    """
    shown = dict(zip(table.classes.names, table.classes.colors, strict=True))
    for name, color in colors.items():
        if name not in shown:
            raise DataError(f"data.colors: no class is called '{name}'.{nearest(name, shown)}")
        shown[name] = as_color(color, f"data.colors.{name}")
    named = Classes(table.classes.names, tuple(shown.values()))
    return replace(table, classes=named, uncolored=table.uncolored - colors.keys())


def merge_classes(table: LabelTable, merge: Mapping[str, str | None]) -> LabelTable:
    """The table with some classes counted as others or as void.

    A class keeps its index among the rest; a new name takes that of the first class that goes into it.

    Args:
        table: the classes as they are.
        merge: class -> the one it counts as, an old name or a new one; None for void.

    Returns:
        The table of the classes that are left.

    Raises:
        DataError: no class has such a name, a target is itself merged, or fewer than two classes are left.
    """
    names = table.classes.names
    for name, target in merge.items():
        if name not in names:
            raise DataError(f"data.merge: no class is called '{name}'.{nearest(name, names)}")
        if target is not None and merge.get(target, target) != target:
            raise DataError(f"data.merge: '{name}' goes into '{target}', which itself goes into {merge[target]!r}.")
    targets = [merge.get(name, name) for name in names]
    kept = [target for target in dict.fromkeys(targets) if target is not None]
    if len(kept) < 2:
        raise DataError(f"data.merge leaves {len(kept)} class(es): {', '.join(kept)}. Two or more are needed.")
    first = {target: names.index(target) if target in names else targets.index(target) for target in kept}
    void = {value: name for name, ids, target in zip(names, table.ids, targets, strict=True) if target is None
            for value in ids}  # fmt: skip
    return LabelTable(
        Classes(tuple(kept), tuple(table.classes.colors[first[target]] for target in kept)),
        tuple(
            tuple(value for ids, goes_to in zip(table.ids, targets, strict=True) if goes_to == target for value in ids)
            for target in kept
        ),
        {**table.void, **void},
        table.source,
    )


def own_values(
    source: LabelTable,
    table: LabelTable,
    merge: Mapping[str, str | None],
    *,
    values: Mapping[int, int | str | None] | None,
    void: Sequence[int | Color],
    unlisted_is_void: bool,
) -> LabelValues:
    """What the values of index masks mean.

    Args:
        source: the classes before they were merged.
        table: the classes after it, and their ids.
        merge: class -> the one it counts as; None for void.
        values: raw value -> class, by name or index in `source`, or None for void; in the place of the table's ids.
        void: more values that are not trained on.
        unlisted_is_void: whether all values that are not named are void, too.

    Returns:
        The lookup table.

    Raises:
        DataError: a value or class does not exist.
    """
    wrong = next((value for value in void if not isinstance(value, int)), None)
    if wrong is not None:
        raise DataError(f"data.void holds the color {list(wrong)}; colors are for data.mask_colors=true.")
    if values is not None:
        meaning = {
            value: _index(_name(target, source.classes, table.classes, value), table.classes, merge)
            for value, target in values.items()
        }
    else:
        meaning = {value: index for index, ids in enumerate(table.ids) for value in ids}
    meaning = {**dict.fromkeys(table.void, IGNORE_INDEX), **meaning}
    meaning |= {value: IGNORE_INDEX for value in void if isinstance(value, int)}
    beyond = sorted(value for value in meaning if not 0 <= value <= 65535)
    if beyond:
        raise DataError(f"data.values or data.void names the mask value {beyond[0]}; masks hold 0 to 65535.")
    if unlisted_is_void:
        size = 256 if max(meaning) < 256 else 65536
        meaning = {**dict.fromkeys(range(size), IGNORE_INDEX), **meaning}
    listed_in = table.source if values is None else ""
    return LabelValues(meaning, cause=_CAUSE.format(example="value"), source=listed_in)


def color_values(
    source: LabelTable,
    merged: LabelTable,
    merge: Mapping[str, str | None],
    void: Sequence[int | Color],
) -> LabelValues:
    """What the colors of color masks mean.

    Args:
        source: the classes before they were merged, whose colors the masks are painted in.
        merged: the classes after it.
        merge: class -> the one it counts as; None for void.
        void: more colors that are not trained on.

    Returns:
        The lookup table.

    Raises:
        DataError: two classes share a color, or one has none.
    """
    if source.uncolored:
        name = next(name for name in source.classes.names if name in source.uncolored)
        raise DataError(
            f"data.mask_colors needs data.colors (or a class table with colors) for every class; '{name}' has none "
            f"({len(source.uncolored)} such)."
        )
    meaning: dict[int, int] = {packed(as_color(color, "data.void")): IGNORE_INDEX for color in void}
    owner: dict[int, str] = {}
    for name, color in zip(source.classes.names, source.classes.colors, strict=True):
        if packed(color) in owner:
            raise DataError(f"The classes '{owner[packed(color)]}' and '{name}' share the color {color}.")
        owner[packed(color)] = name
        target = merge.get(name, name)
        meaning[packed(color)] = IGNORE_INDEX if target is None else merged.classes.names.index(target)
    return LabelValues(meaning, cause=_CAUSE.format(example="[r, g, b]"), source=source.source, colors=True)


def _read_table(path: Path) -> LabelTable:
    try:
        names = yolo_names(path)
        if names is not None:
            return _of_rows([Row(name) for name in names], path)
        tree = read_yaml(path)
    except yaml.YAMLError as error:
        raise DataError(f"Class table {path} is not valid YAML: {error}") from error
    table = as_table(tree, path)
    _refuse_keys(tree, _TABLE_KEYS, path)
    for row in tree["classes"]:
        _refuse_keys(row if isinstance(row, dict) else {}, _CLASS_KEYS, path)
    return table


def _refuse_keys(tree: Mapping[str, Any], keys: Sequence[str], path: Path) -> None:
    """Refuse keys that would be ignored."""
    unknown = next((key for key in tree if key not in keys), None)
    if unknown is not None:
        raise DataError(f"Class table {path}: no key is called '{unknown}'.{nearest(str(unknown), keys)}")


def _of_rows(rows: Sequence[Row], file: Path | None) -> LabelTable:
    """The classes as a table; values and colors that no row says are the place in the list and distinct colors."""
    names = tuple(row.name for row in rows)
    where = f" in {file}" if file else ""
    twice = sorted({name for name in names if names.count(name) > 1})
    if len(names) < 2 or twice:
        fault = f"{twice[0]!r} twice" if twice else f"{len(names)} name(s)"
        raise DataError(
            f"Expected two or more different class names, found {fault}{where}. Give "
            "data.classes=[road,car,...] or one name a line in classes.txt."
        )
    values = [index if row.value is None else row.value for index, row in enumerate(rows)]
    same = sorted({value for value in values if values.count(value) > 1 or value > 65535})
    if same:
        raise DataError(f"The value {same[0]}{where} stands twice, or is beyond 65535. Each class needs its own.")
    colors = distinct_colors(len(names))
    shown = tuple(row.color or color for row, color in zip(rows, colors, strict=True))
    uncolored = frozenset(row.name for row in rows if row.color is None)
    return LabelTable(Classes(names, shown), tuple((value,) for value in values), {}, uncolored=uncolored)


def _from_file(table: LabelTable, file: Path) -> LabelTable:
    return replace(table, source=f"the {len(table.classes)} classes of {file}")


def _name(target: int | str | None, classes: Classes, merged: Classes, value: int) -> str | None:
    """The class that `data.values` gives to a raw value, by its name before or after classes are merged."""
    if isinstance(target, int):
        if not 0 <= target < len(classes):
            raise DataError(f"data.values: {value} means class {target}; the classes are 0..{len(classes) - 1}.")
        return classes.names[target]
    names = tuple(dict.fromkeys((*classes.names, *merged.names)))
    if target is not None and composed(target) not in names:
        raise DataError(f"data.values: {value} means '{target}', no class.{nearest(target, names)}")
    return target and composed(target)


def _index(name: str | None, merged: Classes, merge: Mapping[str, str | None]) -> int:
    counts_as = merge.get(name, name) if name is not None else None
    return IGNORE_INDEX if counts_as is None else merged.names.index(counts_as)
