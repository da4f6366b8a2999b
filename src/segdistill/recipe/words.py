"""What a word of a recipe is: a fragment, a data set, a method, a network, a row of a published table, or a file."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from segdistill.core.errors import RecipeError, nearest
from segdistill.core.paths import expanded
from segdistill.core.plugins import is_import_path, plugins, summaries
from segdistill.core.safe_yaml import load_yaml, read_yaml
from segdistill.models.catalog import ZOO
from segdistill.recipe.published_rows import FOLDER, published_rows
from segdistill.recipe.renamed import new_word

_METHODS, _DATASETS = "segdistill.methods", "segdistill.data.datasets"

_KIND_OF_FOLDER = {
    "data": "data",
    "inference": "inference",
    "methods": "method",
    "pairs": "pair",
    "pipelines": "pipeline",
    "presets": "preset",
    "schedules": "schedule",
}
"""The kind of a fragment, by the folder of `library/` that it lies in."""

KINDS = (*_KIND_OF_FOLDER.values(), "network", "row")
"""What may stand before a name and a colon, as in `data:camvid`; it is needed where a name is of several kinds."""


@dataclass(frozen=True)
class Fragment:
    """A named part of a recipe that comes with the library.

    Attributes:
        name: As recipes say it.
        kind: One of `KINDS`.
        text: YAML.
    """

    name: str
    kind: str
    text: str

    @property
    def file(self) -> str:
        """Where it lies, below the package."""
        folder = next(folder for folder, kind in _KIND_OF_FOLDER.items() if kind == self.kind)
        return f"recipe/library/{folder}/{self.name}.yaml"


@dataclass(frozen=True)
class Word:
    """A word of a recipe and what it is.

    Attributes:
        text: As it was written.
        kind: One of `KINDS`, "file", or "key" for key=value.
        source: What errors and origins of keys call it, as "fragment 'camvid'".
        file: Where it is defined; "" for key=value.
        keys: What it sets; of a row, whose words do that, nothing.
    """

    text: str
    kind: str
    source: str
    file: str = ""
    keys: dict[str, Any] = field(default_factory=dict, repr=False)


@functools.cache
def library() -> dict[str, Fragment]:
    """The fragments that come with the library, by name."""
    root = resources.files("segdistill.recipe") / "library"
    folders = [folder for folder in root.iterdir() if folder.is_dir() and folder.name != FOLDER]
    return {
        (name := file.name.removesuffix(".yaml")): Fragment(
            name, _KIND_OF_FOLDER[folder.name], file.read_text(encoding="utf-8")
        )
        for folder in folders
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    }


def fragments() -> dict[str, str]:
    """Name -> YAML text of the fragments that come with the library."""
    return {name: fragment.text for name, fragment in library().items()}


def comments(name: str) -> str:
    """What the comments of a fragment say.

    Args:
        name: of the fragment.

    Returns:
        Its head, then the comments of single keys as "key: comment.", on one line.
    """
    lines = fragments()[name].splitlines()
    head = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    keys = [match.groups() for line in lines if (match := re.match(r"\s*(\w+):.*\s#\s(.*)", line))]
    return " ".join([head, *(f"{key}: {text}." for key, text in keys)])


def read_word(text: str) -> Word:
    """What a word that is not key=value is, and what it sets.

    Args:
        text: A name, `kind:name`, `preset=name`, or the path of a .yaml file.

    Returns:
        The word.

    Raises:
        RecipeError: Nothing is called so, several things of different kinds are, or a file is not a recipe.
    """
    kind, colon, name = (f"preset:{text[7:]}" if text.startswith("preset=") else text).partition(":")
    if not colon or kind not in KINDS:
        kind, name = "", text
    if not kind and (path := expanded(Path(text))).suffix in {".yaml", ".yml"}:
        return Word(text, "file", str(path), str(path), _mapping(_read(path, text), text))
    kinds = {each: make for each, make in _called(name).items() if each == kind or (not kind and each != "network")}
    if len(kinds) > 1:
        forms = " or ".join(f"{each}:{name}" for each in kinds)
        raise RecipeError(f"'{name}' is the name of several things. Say which is meant: {forms}.")
    if not kinds:
        raise RecipeError(_unknown(kind, name))
    (what, make), *_ = kinds.items()
    return make(text, what)


_Make = Callable[[str, str], Word]


def _called(name: str) -> dict[str, _Make]:
    """Kind -> how to read it, of all that has that name. A fragment comes before the data set that it is about."""
    fragment, rows = library().get(name), published_rows()
    kinds: dict[str, _Make] = {}
    if name in rows:
        kinds["row"] = lambda text, kind: Word(text, kind, f"row '{name}'", _row_file(name))
    if name in ZOO:
        kinds["network"] = lambda text, kind: Word(
            text, kind, f"network '{name}'", "models/catalog.py", {"student": {"name": name}}
        )
    outside = is_import_path(name)
    if outside or name in summaries(_METHODS):
        kinds["method"] = lambda text, kind: Word(
            text, kind, f"method '{name}'", _place(_METHODS, name), {"method": [name]}
        )
    if outside or name in summaries(_DATASETS):
        kinds["data"] = lambda text, kind: Word(
            text, kind, f"data set '{name}'", _place(_DATASETS, name), {"data": {"name": name}}
        )
    if fragment is not None:
        keys = _mapping(load_yaml(fragment.text), name)
        kinds[fragment.kind] = lambda text, kind: Word(text, kind, f"fragment '{name}'", fragment.file, keys)
    return kinds


def _place(package: str, name: str) -> str:
    """Where a class is defined, without importing it: the file below this package, or an import path."""
    if is_import_path(name):
        return name
    return plugins(package).get(name) or f"{package.removeprefix('segdistill.').replace('.', '/')}/{name}.py"


def _row_file(name: str) -> str:
    return f"recipe/library/{FOLDER}/{name.partition('/')[0]}.yaml"


def _unknown(kind: str, name: str) -> str:
    """That nothing is called so, and what was meant perhaps."""
    if kind:
        names = [each for each in _names() if kind in _called(each)]
        return f"No {kind} is called '{name}'.{nearest(name, names)}"
    if "/" in name:
        return f"No published row is called '{name}'.{nearest(name, published_rows())}"
    if (new := new_word(name)) is not None:
        return f"The fragment '{name}' is called '{new}' now."
    if name in ZOO:
        return f"'{name}' is a network. As the student it is network:{name}, or student={name}."
    return f"No recipe fragment, method or data set is called '{name}'.{nearest(name, _names() - {*ZOO})}"


def _names() -> set[str]:
    """All that a word can name, but the rows of published tables."""
    return {*library(), *summaries(_METHODS), *summaries(_DATASETS), *ZOO}


def _read(path: Path, name: str) -> Any:
    if not path.is_file():
        raise RecipeError(f"No recipe file {path}.")
    try:
        return read_yaml(path)
    except (yaml.YAMLError, OSError) as error:
        raise RecipeError(f"Recipe {name} is not valid YAML: {error}") from error


def _mapping(tree: Any, name: str) -> dict[str, Any]:
    if not isinstance(tree, dict):
        raise RecipeError(f"Recipe {name} must be a mapping of keys, not a {type(tree).__name__}.")
    return tree
