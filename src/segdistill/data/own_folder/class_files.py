"""Files of class names as labelling tools write them, each read by its own rules, or refused."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segdistill.core.errors import DataError
from segdistill.core.paths import composed, expanded
from segdistill.core.safe_yaml import not_text, read_yaml
from segdistill.data.pairs import read_lines

_REMEDY = (
    "Write one class name a line, in the order of the mask values; or 'value, name' on every line; or a .yaml table."
)
_VALUE = {"pixel value", "pixel_value", "value", "id", "index", "class_id", "class id", "label_id", "label id"}
_NAME = {"class", "name", "label", "class_name", "class name", "category", "label_name"}
_COLOR = ({"r", "red"}, {"g", "green"}, {"b", "blue"})
_IGNORED = "__ignore__"
_NUMBERED = re.compile(r"(\d+)\s*[,;:\t]\s*(.+)")
_NUMBERED_LAST = re.compile(r"(.*\D)\s*[,;:\t=|]\s*(\d+)")
_COLORED = re.compile(r"(.+?)[,;\t ]+(\d+)[,;\t ]+(\d+)[,;\t ]+(\d+)")
_COLOR_FIRST = re.compile(r"(\d+)[,;\t ]+(\d+)[,;\t ]+(\d+)[,;\t ]+(\D.*)")


@dataclass(frozen=True)
class Row:
    """A class: its name, the raw value if the file says it, the color if the file says it."""

    name: str
    value: int | None = None
    color: tuple[int, int, int] | None = None


def class_file(path: Path, root: Path) -> Path:
    """The file that `data.classes` means: as it is, or below the root of the data set.

    Args:
        path: as it was given.
        root: of the data set.

    Returns:
        The file.

    Raises:
        DataError: there is none, or there are two different ones.
    """
    path = expanded(path)
    existing = [each for each in dict.fromkeys([path, root / path]) if each.is_file()]
    if len(existing) > 1 and not existing[0].samefile(existing[1]):
        raise DataError(f"data.classes={path} may be {path.absolute()} or {root / path}. Write the whole path of one.")
    if not existing:
        kind = "class table" if path.suffix in {".yaml", ".yml"} else "list file"
        raise DataError(f"No {kind} {path} (data.classes), nor {root / path}; expected one class a line, or a table.")
    return existing[0]


def read_rows(path: Path) -> list[Row]:
    """The classes of a file that is not a table of YAML.

    Known are: a name a line; CVAT's labelmap.txt (name:r,g,b:parts:actions); labelme's labels.txt, whose `__ignore__`
    is void; Roboflow's _classes.csv and other files with a header; `value, name` and `name, value`; `name r g b` and
    `r g b name`.

    Args:
        path: of the file.

    Returns:
        Its classes in the order of their lines.

    Raises:
        DataError: there is no such file, or its lines have another or an uncertain meaning.
    """
    lines = [composed(line) for line in read_lines(path, what="class")]
    if not lines:
        return []
    if path.suffix.lower() == ".json" or lines[0][0] + lines[-1][-1] in ("[]", "{}", "<>"):
        raise DataError(f"{path} is JSON or XML, not a list of classes. {_REMEDY}")
    if lines[0].lstrip("# ").lower().startswith("label:color_rgb") or all(line.count(":") == 3 for line in lines):
        return [_cvat(line, path) for line in lines if not line.startswith("#")]
    if (header := _header(lines[0])) is not None:
        return _table(lines[1:], header, path)
    if any(field.strip().lower() in _NAME for field in re.split(r"[,;\t]", lines[0])):
        raise DataError(f"{path}: the first line {lines[0]!r} is a header that is not known, or a class? {_REMEDY}")
    for line in lines:
        if line.startswith("#") or "\t" in line:
            if all(map(_COLORED.fullmatch, lines)) or all(map(_COLOR_FIRST.fullmatch, lines)):
                break
            raise DataError(f"{path}: the line {line!r} is not a class name. {_REMEDY}")
    return _plain(lines, path)


def yolo_names(path: Path) -> list[str] | None:
    """The names of a YAML file that is a list of names, or has a key `names`, as YOLO's data.yaml.

    Args:
        path: of the file.

    Returns:
        The names in order; None if it has another form.

    Raises:
        yaml.YAMLError: it is not YAML.
        DataError: the numbers of its names are not 0, 1, 2, ...
    """
    tree = read_yaml(path)
    if isinstance(tree, dict) and ("classes" in tree or "names" not in tree):
        return None
    names = tree["names"] if isinstance(tree, dict) else tree
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            raise DataError(f"{path}: 'names' has the numbers {list(names)}; expected 0 to {len(names) - 1}.")
        names = [names[key] for key in sorted(names, key=int)]
    if not isinstance(names, list) or any(isinstance(name, dict | list) for name in names):
        return None
    for name in names:
        if not isinstance(name, str):
            raise DataError(f"{path}: the class {name!r} is not text: {not_text(name)}")
    return [composed(name) for name in names]


def _cvat(line: str, path: Path) -> Row:
    name, _, rest = line.partition(":")
    color = rest.split(":")[0]
    if not color:
        return Row(name.strip())
    return Row(name.strip(), None, _color(color.split(","), line, path))


def _header(line: str) -> Callable[[list[str]], tuple[str, str | None, list[str] | None]] | None:
    """What takes name, value and color from the fields of a row, where the line is a header; else None."""
    fields = [field.strip().lower() for field in re.split(r"[,;\t]", line)]
    names = [place for place, field in enumerate(fields) if field in _NAME]
    values = [place for place, field in enumerate(fields) if field in _VALUE]
    colors = [place for words in _COLOR for place, field in enumerate(fields) if field in words]
    is_header = len(names) == 1 and (len(values) == 1 or len(colors) == 3) and len(values) < 2
    if not is_header or len(fields) != 1 + len(values) + len(colors):
        return None

    def pick(row: list[str]) -> tuple[str, str | None, list[str] | None]:
        value = row[values[0]] if values else None
        return row[names[0]], value, [row[place] for place in colors] if len(colors) == 3 else None

    return pick


def _table(
    lines: list[str], pick: Callable[[list[str]], tuple[str, str | None, list[str] | None]], path: Path
) -> list[Row]:
    rows = []
    divider = next((each for each in "\t;," if each in lines[0]), ",") if lines else ","
    for line in lines:
        fields = [field.strip() for field in next(csv.reader([line], delimiter=divider, skipinitialspace=True))]
        try:
            name, value, color = pick(fields)
            shown = None if color is None else _color(color, line, path)
            rows.append(Row(name, None if value is None else int(value), shown))
        except (IndexError, ValueError) as error:
            raise DataError(f"{path}: the line {line!r} does not fit the header. {_REMEDY}") from error
    return rows


def _plain(lines: list[str], path: Path) -> list[Row]:
    """A class a line, perhaps with a value or a color, the same on all lines."""
    return _colored(lines, path) or _numbered(lines, path) or _names(lines, path)


def _colored(lines: list[str], path: Path) -> list[Row]:
    """The classes of `name r g b` or `r g b name`; none where no line has a color."""
    for pattern, name_at in ((_COLOR_FIRST, 3), (_COLORED, 0)):
        colored = [match.groups() for line in lines if (match := pattern.fullmatch(line))]
        if colored and len(colored) != len(lines):
            raise DataError(f"{path}: some lines hold a color and some do not, as {lines[0]!r}. {_REMEDY}")
        rows = []
        for each in colored:
            name = each[name_at].strip()
            if any(part.isdecimal() for part in re.split(r"[,;\t ]+", name)):
                raise DataError(f"{path}: the lines, as {lines[0]!r}, hold more numbers than a color. {_REMEDY}")
            rows.append(Row(name, None, _color([*each[:name_at], *each[name_at + 1 :]], name, path)))
        if rows:
            return rows
    return []


def _numbered(lines: list[str], path: Path) -> list[Row]:
    """The classes of `value, name` or `name, value`; none where no line has a value."""
    for pattern, name_at in ((_NUMBERED, 1), (_NUMBERED_LAST, 0)):
        numbered = [match.groups() for line in lines if (match := pattern.fullmatch(line))]
        if numbered and len(numbered) != len(lines):
            raise DataError(f"{path}: some lines hold a value and a name and some do not, as {lines[0]!r}. {_REMEDY}")
        if any(part.strip().isdecimal() for each in numbered for part in re.split(r"[,;\t]", each[name_at])):
            raise DataError(f"{path}: the lines, as {lines[0]!r}, hold more numbers than a value. {_REMEDY}")
        if numbered:
            return [Row(each[name_at].strip(), int(each[1 - name_at])) for each in numbered]
    return []


def _names(lines: list[str], path: Path) -> list[Row]:
    """A name a line. Numbers before or after all of them, with a blank between, are places, or it is not certain."""
    for number_at, name_at in ((0, 2), (2, 0)):
        parts = [line.partition(" ") if name_at else line.rpartition(" ") for line in lines]
        names = [each[name_at] for each in parts]
        if not all(each[number_at].isdecimal() and each[name_at] for each in parts):
            continue
        if number_at and len({*names}) < len(names):
            continue  # "zone 1", "zone 2" are names
        if [int(each[number_at]) for each in parts] != list(range(len(parts))):
            where = "begin" if name_at else "end"
            raise DataError(
                f"{path}: all lines {where} with a number, as {lines[0]!r}; is it the mask value or a part of the "
                f"name? {_REMEDY}"
            )
        return [Row(name.strip()) for name in names]
    if _IGNORED in lines[1:]:
        raise DataError(f"{path}: '{_IGNORED}' is not on the first line, as labelme has it. {_REMEDY}")
    return [Row(line) for line in lines if line != _IGNORED]


def _color(parts: list[str], line: str, path: Path) -> tuple[int, int, int]:
    numbers = [int(part) for part in parts if part.strip().isdecimal()]
    if len(parts) != 3 or len(numbers) != 3 or max(numbers) > 255:
        raise DataError(f"{path}: {line!r} has no color r,g,b from 0 to 255. {_REMEDY}")
    return numbers[0], numbers[1], numbers[2]
