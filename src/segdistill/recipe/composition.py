"""Fragments of YAML and `key=value` words, merged left to right, each key remembering where it came from."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from segdistill.core.errors import RecipeError, nearest
from segdistill.core.plugins import summaries
from segdistill.core.safe_yaml import YamlTooLargeError, load_yaml, read_yaml
from segdistill.recipe.published_rows import FOLDER, published_rows, row_words
from segdistill.recipe.renamed import new_word

_RATE = "optimizer.lr"
_PRESET = "preset="
_KEYWORDS = "the call's keyword arguments"
_METHODS, _DATASETS = "segdistill.methods", "segdistill.data.datasets"


@dataclass
class Origin:
    """Which fragment or word set each key.

    Attributes:
        sources: what set a key, by its dotted path.
        read: the fragments and files that were merged.
        tuned: the batch size that came with the learning rate of a fragment or row, and what set that rate.
    """

    sources: dict[str, str] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    tuned: tuple[Any, str] | None = None

    def tuned_batch(self) -> Any:
        """The batch size that the learning rate came with; None if nothing says so, or a word has set the rate."""
        return self.tuned[0] if self.tuned and self.tuned[1] == self.sources.get(_RATE) else None

    def of(self, line: str) -> str:
        """The end of an error line: where the key that it quotes was set, or the nearest parent that was.

        Args:
            line: with the key's dotted path in single quotes.

        Returns:
            As " (set in fragment 'camvid')", or " (recipe: ...)" with all that was merged, or "".
        """
        quoted = re.search(r"'([^']+)'", line)
        path = quoted.group(1).split(".") if quoted else []
        while path:
            source = self.sources.get(".".join(path))
            if source:
                return f" (set in {source})"
            path.pop()
        return f" (recipe: {', '.join(self.read)})" if self.read else ""


@functools.cache
def fragments() -> dict[str, str]:
    """Name -> YAML text of the fragments that come with the library."""
    root = resources.files("segdistill.recipe") / "library"
    folders = [folder for folder in root.iterdir() if folder.is_dir() and folder.name != FOLDER]
    return {
        file.name.removesuffix(".yaml"): file.read_text(encoding="utf-8")
        for folder in folders
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    }


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


def compose(*parts: str | Path | Mapping[str, Any], **overrides: Any) -> tuple[dict[str, Any], Origin]:
    """Merge the parts of a recipe: a later key wins, mappings merge, method lists join, other lists are replaced.

    Args:
        *parts: names of fragments, published rows (which stand for their words), data sets and methods, paths of .yaml
            files, `key.sub=value`, and mappings of keys, in their order.
        **overrides: keys that come last, nested or as "key.sub".

    Returns:
        The keys as plain values, not checked; and what set each.

    Raises:
        RecipeError: a part is unknown, or is not YAML.
    """
    merged: dict[str, Any] = {}
    origin = Origin()
    for each in parts:
        if isinstance(each, Mapping):
            _merge(merged, dict(each), "", "the recipe that was handed in", origin)
            continue
        given = str(each)
        rate = origin.sources.get(_RATE)
        for part in row_words(given) or (given,):
            if is_assignment(part) and not part.startswith(_PRESET):
                _assign(merged, part, origin)
            else:
                tree, source = _fragment(_preset(part) if part.startswith(_PRESET) else part)
                origin.read.append(source)
                joined = [*_list(merged.get("method")), *_list(tree.get("method"))]
                _merge(merged, tree, "", source, origin)
                if joined:
                    merged["method"] = joined
        if not is_assignment(given) and (source_rate := origin.sources.get(_RATE, rate)) != rate:
            origin.tuned = merged.get("batch_size"), str(source_rate)
    nested = {key: value for key, value in overrides.items() if "." not in key}
    _merge(merged, nested, "", _KEYWORDS, origin)
    for key, value in overrides.items():
        if "." in key:
            _set(merged, key, value, key, _KEYWORDS, origin)
    return merged, origin


def is_assignment(part: str) -> bool:
    """Whether a part of a recipe is `key=value`.

    Args:
        part: which may be a path with a "=", and whose value may be the name of a .yaml file.

    Returns:
        False for a fragment, a file or a name.
    """
    key, equals, _ = part.partition("=")
    is_path = part.endswith((".yaml", ".yml")) and ("/" in key or "\\" in key or Path(part).is_file())
    return bool(equals) and not is_path


def key_values(words: Iterable[str]) -> dict[str, Any]:
    """The mapping that `key=value` words make.

    Args:
        words: of which each value is read as YAML; `a.b=value` gives {a: {b: value}}.

    Returns:
        The mapping.

    Raises:
        RecipeError: a word is not key=value, or its value is not YAML.
    """
    merged: dict[str, Any] = {}
    for word in words:
        if "=" not in word:
            raise RecipeError(f"'{word}' is not key=value.")
        _assign(merged, word, Origin())
    return merged


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _fragment(name: str) -> tuple[dict[str, Any], str]:
    known_fragments = fragments()
    path = Path(name)
    if name in known_fragments:
        return _mapping(load_yaml(known_fragments[name]), name), f"fragment '{name}'"
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise RecipeError(f"No recipe file {path}.")
        return _mapping(_read(path, name), name), str(path)
    methods, datasets = summaries(_METHODS), summaries(_DATASETS)
    if name in methods:
        return {"method": [name]}, f"method '{name}'"
    if name in datasets:
        return {"data": {"name": name}}, f"data set '{name}'"
    if "/" in name:
        raise RecipeError(f"No published row is called '{name}'.{nearest(name, published_rows())}")
    if (new := new_word(name)) is not None:
        raise RecipeError(f"The fragment '{name}' is called '{new}' now.")
    words = {*known_fragments, *methods, *datasets}
    raise RecipeError(f"No recipe fragment, method or data set is called '{name}'.{nearest(name, words)}")


def _preset(word: str) -> str:
    """The fragment that `preset=medium` stands for."""
    name = word.removeprefix(_PRESET)
    folder = resources.files("segdistill.recipe") / "library" / "presets"
    presets = [file.name.removesuffix(".yaml") for file in folder.iterdir()]
    if name not in presets:
        raise RecipeError(f"'{word}': no preset is called '{name}'; there are {', '.join(sorted(presets))}.")
    return name


def _read(path: Path, name: str) -> Any:
    try:
        return read_yaml(path)
    except (yaml.YAMLError, OSError) as error:
        raise RecipeError(f"Recipe {name} is not valid YAML: {error}") from error


def _mapping(tree: Any, name: str) -> dict[str, Any]:
    if not isinstance(tree, dict):
        raise RecipeError(f"Recipe {name} must be a mapping of keys, found {type(tree).__name__}.")
    return tree


def _merge(base: dict[str, Any], top: dict[str, Any], prefix: str, source: str, origin: Origin) -> None:
    for key, value in top.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and isinstance(base.get(key), dict) and not _another(base[key], value):
            _merge(base[key], value, f"{path}.", source, origin)
            continue
        base[key] = value
        _note_all(path, value, source, origin)


def _another(base: dict[str, Any], top: dict[str, Any]) -> bool:
    """Whether `top` names another thing than `base`, whose options would then make no sense."""
    return "name" in top and top["name"] != base.get("name", top["name"])


def _note_all(path: str, value: Any, source: str, origin: Origin) -> None:
    origin.sources[path] = source
    if isinstance(value, dict):
        for key, inner in value.items():
            _note_all(f"{path}.{key}", inner, source, origin)


def _assign(merged: dict[str, Any], word: str, origin: Origin) -> None:
    """Apply `a.b=value`; the value is read as YAML. `method.<name>.<option>` reaches into the list of methods."""
    path, _, text = word.partition("=")
    try:
        value = load_yaml(text)
    except yaml.YAMLError as error:
        reason = f": {error}" if isinstance(error, YamlTooLargeError) else "."
        raise RecipeError(f"'{word[:100]}': {text[:100]!r} is not a YAML value{reason}") from error
    _set(merged, path, value, word, f"'{word}'", origin)


def _set(merged: dict[str, Any], path: str, value: Any, word: str, source: str, origin: Origin) -> None:
    """Set the key of a dotted path; `word` is what set it, for errors, and `source` the same for the origin."""
    *parents, last = path.split(".")
    if not all([*parents, last]):
        raise RecipeError(f"'{word}' names no key; expected key=value or key.sub=value.")
    node: Any = merged
    for depth, parent in enumerate(parents):
        if depth == 1 and parents[0] == "method":
            node = _named_method(merged, parent, word)
            continue
        holder, node = node, node.setdefault(parent, [] if (parent, depth) == ("method", 0) else {})
        if isinstance(node, str) and parent in {"student", "network", "head"}:  # a bare name: options go beside it
            node = holder[parent] = {"name": node}
        if not isinstance(node, dict | list):
            raise RecipeError(
                f"'{word}': '{'.'.join(parents[: depth + 1])}' is {node!r}, which has no keys of its own."
            )
    if isinstance(node, list):
        raise RecipeError(f"'{word}': name the method as well, as in method.bpkd.{last}=..")
    node[last] = value
    _note_all(path, value, source, origin)


def _named_method(merged: dict[str, Any], name: str, word: str) -> dict[str, Any]:
    methods = _list(merged.get("method"))
    for index, method in enumerate(methods):
        method = method.model_dump(exclude_unset=True) if isinstance(method, BaseModel) else method
        methods[index] = method = {"name": method} if isinstance(method, str) else dict(method)
        if method.get("name") == name:
            merged["method"] = methods
            return method
    names = [method if isinstance(method, str) else str(method.get("name")) for method in methods]
    raise RecipeError(f"'{word}': no method '{name}' is in the recipe.{nearest(name, names) if names else ''}")
