"""The files that `data.masks` names, looked at once and shared by all readers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from segdistill.core.errors import DataError
from segdistill.data.own_folder.templates import files_below

MANIFEST = "manifest.json"
"""What `predict` writes beside its labels: which image each file is of."""

_BEGINNING = 1 << 16


@dataclass
class Source:
    """A file or folder of a labelling tool. The last JSON is kept parsed.

    Attributes:
        path: the file or folder.
        root: of the data set.
    """

    path: Path
    root: Path
    _parsed: dict[Path, Any] = field(default_factory=dict)

    @cached_property
    def files(self) -> list[Path]:
        """The file, or all files of the folder and of those below it, but for the manifest of `predict`."""
        if not self.path.is_dir():
            return [self.path]
        return [path for path in files_below(self.path) if not self._is_manifest(path)]

    def _is_manifest(self, path: Path) -> bool:
        """Whether it is what `predict` writes beside its labels."""
        return path.name == MANIFEST and '"format"' in self.beginning(path)[:40]

    @cached_property
    def folder(self) -> Path:
        """The folder, or that of the file."""
        return self.path if self.path.is_dir() else self.path.parent

    def only(self, suffix: str) -> Path:
        """The one file of a kind, which has all annotations.

        Args:
            suffix: in lower case.

        Returns:
            It; without one the path itself.

        Raises:
            DataError: the folder has several.
        """
        files = self.of(suffix)
        if len(files) > 1:
            names = [each.relative_to(self.folder).as_posix() for each in files[:2]]
            raise DataError(
                f"{self.path} has {len(files)} {suffix} files, as {' and '.join(names)}, and one is read. Name it with "
                "data.masks, or the file of each split as data.masks='FOLDER/{split}.json'; or export all as one."
            )
        return files[0] if files else self.path

    @property
    def folders_up(self) -> list[Path]:
        """The folder and those above it, up to the root of the data set."""
        return [self.folder, *(each for each in self.folder.parents if each == self.root or self.root in each.parents)]

    def of(self, *suffixes: str) -> list[Path]:
        """Those of the files whose names end so, in order.

        Args:
            suffixes: in lower case.
        """
        return [path for path in self.files if path.suffix.lower() in suffixes]

    def first_json(self) -> Any:
        """The first JSON file's content, to recognise a format by; None if there is none that can be parsed."""
        first = next((path for path in self.files if self.beginning(path).lstrip()[:1] in ("{", "[")), None)
        if first is None:
            return None
        try:
            return self.json(first)
        except DataError:
            return None

    def json(self, path: Path) -> Any:
        """The content of a JSON file.

        Args:
            path: of the file.

        Returns:
            What it holds.

        Raises:
            DataError: it can't be read, or is not JSON.
        """
        if path not in self._parsed:
            self._parsed.clear()  # labelme's files may hold their pictures, a folder of them does not fit into memory
            try:
                self._parsed[path] = json.loads(path.read_text(encoding="utf-8-sig"))
            except (OSError, ValueError, RecursionError) as error:
                raise DataError(
                    f"{path} is not whole JSON ({error}). It may be cut off: download or export it anew."
                ) from error
        return self._parsed[path]

    @staticmethod
    def beginning(path: Path) -> str:
        """The first characters of a file as text, whatever it holds; "" if it can't be read.

        Args:
            path: of the file.
        """
        try:
            with path.open(encoding="utf-8-sig", errors="replace") as file:
                return file.read(_BEGINNING)
        except OSError:
            return ""
