"""The classes of your own folder: from names or a table, colored, merged, and what the masks' values mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from segdistill.core.classes import IGNORE_INDEX, Classes, as_color, distinct_colors
from segdistill.core.errors import DataError, nearest
from segdistill.core.safe_yaml import read_yaml
from segdistill.data.pairs import read_lines
from segdistill.data.tables import LabelTable, as_table
from segdistill.data.values import LabelValues, packed

Color = tuple[int, int, int]

_CAUSE = (
    "Check the class list; say what the value means with data.values={{value: class}}, or that it is not to be trained "
    "on with data.void=[{example}]."
)


def own_table(classes: Sequence[str] | Path | None, root: Path, colors: Mapping[str, Any] | None) -> LabelTable:
    """Class names from a list, a file with one name a line (default `<root>/classes.txt`), or a .yaml table."""
    if isinstance(classes, Path) and classes.suffix in {".yaml", ".yml"}:
        table = _read_table(classes if classes.is_file() else root / classes)
    else:
        table = _named(classes, root)
    if not colors:
        return table
    shown = dict(zip(table.classes.names, table.classes.colors, strict=True))
    for name, color in colors.items():
        if name not in shown:
            raise DataError(f"data.colors: no class is called '{name}'.{nearest(name, shown)}")
        shown[name] = as_color(color, f"data.colors.{name}")
    return replace(table, classes=Classes(table.classes.names, tuple(shown.values())))


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
    table: LabelTable,
    *,
    values: Mapping[int, int | str | None] | None,
    void: Sequence[int | Color],
    unlisted_is_void: bool,
) -> LabelValues:
    """What the values of index masks mean.

    Args:
        table: the classes and their ids.
        values: raw value -> class, by name or index, or None for void; in the place of the table's ids.
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
        meaning = {value: _index(target, table.classes, value) for value, target in values.items()}
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
    source = table.source if values is None else ""
    return LabelValues(meaning, cause=_CAUSE.format(example="value"), source=source)


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
        DataError: two classes share a color.
    """
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
    if not path.is_file():
        raise DataError(f"No class table {path} (data.classes).")
    try:
        table = as_table(read_yaml(path), path)
    except yaml.YAMLError as error:
        raise DataError(f"Class table {path} is not valid YAML: {error}") from error
    return _from_file(table, path)


def _named(classes: Sequence[str] | Path | None, root: Path) -> LabelTable:
    """The names as a table, in their order; those of a file say where they are from."""
    file = None
    if classes is None or isinstance(classes, Path):
        file = classes or root / "classes.txt"
        classes = read_lines(file, what="class")
    names = tuple(classes)
    twice = sorted({name for name in names if names.count(name) > 1})
    if len(names) < 2 or twice:
        fault = f"{twice[0]!r} twice" if twice else f"{len(names)} name(s)"
        raise DataError(
            f"Expected two or more different class names, found {fault}{f' in {file}' if file else ''}. Give "
            "data.classes=[road,car,...] or one name a line in classes.txt."
        )
    ids = tuple((index,) for index in range(len(names)))
    colors = distinct_colors(len(names))
    table = LabelTable(Classes(names, colors), ids, {})
    return _from_file(table, file) if file else table


def _from_file(table: LabelTable, file: Path) -> LabelTable:
    return replace(table, source=f"the {len(table.classes)} classes of {file}")


def _index(target: int | str | None, classes: Classes, value: int) -> int:
    """The class index that `data.values` gives to a raw value."""
    if target is None:
        return IGNORE_INDEX
    if isinstance(target, str):
        if target not in classes.names:
            raise DataError(f"data.values: {value} means '{target}', no class.{nearest(target, classes.names)}")
        return classes.names.index(target)
    if not 0 <= target < len(classes):
        raise DataError(f"data.values: {value} means class {target}; the classes are 0..{len(classes) - 1}.")
    return target
