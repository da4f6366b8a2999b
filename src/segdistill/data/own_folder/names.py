"""Which image a line of a list file means; what may mean two images, or none, is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from segdistill.core.errors import DataError
from segdistill.core.paths import as_spelled, composed, expanded
from segdistill.data.formats import MASK_SUFFIXES, is_of
from segdistill.data.pairs import read_lines

Index = dict[str, set[str]]
"""A way to write an image -> the names of the images that are written so."""


class _Keys:
    """The ways to write each image: by path, by name, and by the last part of its name; letters as `fold` has them."""

    def __init__(self, fold: Callable[[str], str]) -> None:
        self.fold = fold
        self.paths: Index = {}
        self.names: Index = {}
        self.last: Index = {}

    def add(self, name: str, path: str, real_root: str, below: str) -> None:
        """Note an image's or mask's file, which lies at `below` below the root."""
        depth = name.count("/") + 1
        for text in _with_and_without_suffix(composed(path)):
            parts = text.split("/")
            self._add(self.paths, os.path.abspath(text), name)  # noqa: PTH100  (text: a list may name 100 000)
            self._add(self.names, "/".join(parts[-depth:]), name)
            self._add(self.last, parts[-1], name)
        for text in _with_and_without_suffix(composed(below)) if below else ():
            self._add(self.paths, f"{real_root}/{text}", name)
            self._add(self.names, text, name)
        self._add(self.names, name, name)
        self._add(self.last, name.split("/")[-1], name)

    def _add(self, index: Index, key: str, name: str) -> None:
        index.setdefault(self.fold(key), set()).add(name)


@dataclass
class Resolver:
    """Reads list files.

    A line means an image by, the first that fits:

    1. the path of the image or of its mask, absolute, below the root or beside the list, with or without suffix;
    2. its name, or the path of image or mask below their folders, after a prefix that all lines of the list share, as
       of the machine where the list was made;
    3. the last part of its name, if the line has no folder and one image only ends so.

    Each is tried as it is written, then without the suffix, then whatever its case. Accents count by what is seen and
    backslashes as slashes. A line that fits several images, lines that mean one image, and lines of different
    prefixes are errors.

    Args:
        images: the file of each name.
        masks: the mask of each name, of those that have one.
        root: of the data set.

    Attributes:
        notes: what was left off to understand the lines, in sentences.
    """

    images: Mapping[str, Path]
    masks: Mapping[str, Path]
    root: Path
    notes: list[str] = field(default_factory=list)

    @cached_property
    def _exact(self) -> _Keys:
        return self._keys(str)

    @cached_property
    def _folded(self) -> _Keys:
        return self._keys(str.casefold)  # only made for a list that needs it

    def _keys(self, fold: Callable[[str], str]) -> _Keys:
        keys, root, real = _Keys(fold), f"{self.root.as_posix()}/", os.path.realpath(self.root)
        for name, path in [*self.images.items(), *self.masks.items()]:
            text = path.as_posix()
            keys.add(name, text, real, text.removeprefix(root) if text.startswith(root) else "")
        return keys

    def names_on(self, file: Path) -> list[str]:
        """The names of the images on a list.

        Args:
            file: the list, one image a line; of two columns the first counts.

        Returns:
            The names in the list's order.

        Raises:
            DataError: as of the class.
        """
        lines = [columns[0] if (columns := two_columns(line)) else line for line in read_lines(file)]
        line_of: dict[str, str] = {}
        prefixes: dict[str, str] = {}
        unknown: list[str] = []
        for line in lines:
            names, prefix = self._resolve(line, file)
            if not names:
                unknown.append(line)
                continue
            if len(names) > 1:
                first, second = (self.images[name] for name in sorted(names)[:2])
                raise DataError(
                    f"{file} names {line!r}, which may be {first} or {second}. Write the path below the root."
                )
            (name,) = names
            if name in line_of:
                raise DataError(
                    f"{file} names {self.images[name]} twice: {line_of[name]!r} and {line!r}. Keep one of the lines."
                )
            line_of[name] = line
            if prefix is not None:
                prefixes.setdefault(prefix, line)
        if unknown:
            raise DataError(self._unknown(file, unknown))
        if len(prefixes) > 1:
            one, other = [*prefixes.values()][:2]
            raise DataError(
                f"{file} names {one!r} and {other!r}, whose folders are not below {self.root}: without them it is not "
                "certain which images are meant. Write paths below the root."
            )
        left_off = [prefix for prefix in prefixes if prefix]
        self.notes += [f"{file.name}: '{prefix}/' is not below the root and was left off." for prefix in left_off]
        return list(line_of)

    def resolve(self, line: str, file: Path) -> set[str]:
        """The names of the images that a line may mean.

        Args:
            line: a path or name.
            file: that holds it; paths may be beside it.

        Returns:
            One name; none, or several, if it is not certain.
        """
        return self._resolve(line, file)[0]

    def _resolve(self, line: str, file: Path) -> tuple[set[str], str | None]:
        """The images that a line may mean, and the prefix that was left off; None if it is a whole path."""
        forms = [
            form
            for text in dict.fromkeys([composed(line), composed(line).replace("\\", "/")])
            for form in _with_and_without_suffix(text)
        ]
        for fold in (False, True):
            keys = self._folded if fold else self._exact
            for form in forms:
                for folder in (self.root, file.parent):
                    if names := keys.paths.get(keys.fold(_absolute(form, folder))):
                        return names, None
                parts = [part for part in form.split("/") if part not in ("", ".")]
                for start in range(len(parts)):
                    if names := keys.names.get(keys.fold("/".join(parts[start:]))):
                        return names, "/".join(parts[:start])
                if len(parts) == 1 and (names := keys.last.get(keys.fold(parts[0]))):
                    return names, ""
        return set(), None

    def _unknown(self, file: Path, lines: list[str]) -> str:
        folder = next(iter(self.images.values())).parent if self.images else self.root
        name = PurePosixPath(lines[0].replace("\\", "/")).name
        whole = "" if name == lines[0] else f" (line {lines[0]!r})"
        return f"{file} names {name!r}{whole}, which is not in {folder} ({len(lines)} such)."


def two_columns(line: str) -> tuple[str, str] | None:
    """Image and mask of a line, divided by a tab, a comma, a semicolon or blanks.

    Args:
        line: of a list file.

    Returns:
        The two; None if the line is not two names of files.
    """
    for divider in ("\t", ",", ";", None):
        columns = [column.strip() for column in line.split(divider)]
        if len(columns) == 2 and all(is_of(Path(column), MASK_SUFFIXES) for column in columns):
            return columns[0], columns[1]
    return None


def pairs_on(file: Path, root: Path) -> list[tuple[Path, Path]] | None:
    """The pairs of a list of two columns.

    Args:
        file: the list.
        root: of the data set, below which the files lie, if they don't lie beside the list.

    Returns:
        (image, mask) of each line; None if the list has not two columns of files.

    Raises:
        DataError: a file may be two, or an image is named twice.
    """
    lines = read_lines(file)
    columns = [two_columns(line) for line in lines]
    pairs = [(_existing(pair[0], root, file), _existing(pair[1], root, file)) for pair in columns if pair is not None]
    if not pairs or len(pairs) != len(lines):
        return None
    line_of: dict[Path, str] = {}
    for (image, _), line in zip(pairs, lines, strict=True):
        if image in line_of:
            raise DataError(f"{file} names {image} twice: {line_of[image]!r} and {line!r}. Keep one of the lines.")
        line_of[image] = line
    return pairs


def _existing(text: str, root: Path, file: Path) -> Path:
    """The file that a column of a list means: as it is, below the root or beside the list."""
    existing: dict[str, Path] = {}
    for form in dict.fromkeys([text, text.replace("\\", "/")]):
        for folder in (root, file.parent):
            for below in dict.fromkeys([form, form.lstrip("/")]):  # "/images/a.png" of the root is written, too
                path = as_spelled(Path(_absolute(below, folder)))
                if path.is_file():
                    existing.setdefault(os.path.realpath(path), path)
    if len(existing) > 1:
        first, second = [*existing.values()][:2]
        raise DataError(f"{file} names {text!r}, which may be {first} or {second}. Write the whole path.")
    return next(iter(existing.values()), Path(_absolute(text.replace("\\", "/"), root)))


def _absolute(text: str, folder: Path) -> str:
    """A path without `.`, `..` and `~`, absolute or below a folder; links stay as they are."""
    return os.path.normpath(os.path.join(os.path.abspath(folder), expanded(text)))  # noqa: PTH100, PTH118  (as above)


def _with_and_without_suffix(text: str) -> list[str]:
    stem, suffix = os.path.splitext(text)  # noqa: PTH122  (text, as above)
    return [text, stem] if suffix.lower() in MASK_SUFFIXES else [text]
