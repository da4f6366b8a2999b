"""Fragments of YAML and `key=value` words, merged left to right, each key remembering where it came from."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from segdistill.core.errors import RecipeError, nearest
from segdistill.core.safe_yaml import RefusedYamlError, load_word
from segdistill.recipe.published_rows import published_rows
from segdistill.recipe.words import Word, read_word

_RATE = "optimizer.lr"
_PRESET = "preset="
_KEYWORDS = "the call's keyword arguments"


@dataclass
class Origin:
    """Which fragment or word set each key.

    Attributes:
        sources: what set a key, by its dotted path, in the order that they were set in last.
        replaced: what had set it before, in this order, where something had.
        words: the words that were merged, those of a row behind it.
        tuned: the batch size that came with the learning rate of a fragment or row, and what set that rate.
    """

    sources: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, list[str]] = field(default_factory=dict)
    words: list[Word] = field(default_factory=list)
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
        read = [word.source for word in self.words if word.keys and word.kind != "key"]
        return f" (recipe: {', '.join(read)})" if read else ""

    def note(self, path: str, value: Any, source: str) -> None:
        """Remember what set a key, and the keys below it.

        Args:
            path: of the key, dotted.
            value: that it was set to.
            source: what set it.
        """
        before = self.sources.pop(path, source)
        if before != source:
            self.replaced.setdefault(path, []).append(before)
        self.sources[path] = source
        if isinstance(value, dict):
            for key, inner in value.items():
                self.note(f"{path}.{key}", inner, source)


def compose(*parts: str | Path | Mapping[str, Any], **overrides: Any) -> tuple[dict[str, Any], Origin]:
    """Merge the parts of a recipe: a later key wins, mappings merge, method lists join, other lists are replaced.

    Args:
        *parts: names of fragments, published rows (which stand for their words), data sets and methods, bare or as
            `kind:name`, paths of .yaml files, `key.sub=value`, and mappings of keys, in their order.
        **overrides: keys that come last, nested or as "key.sub".

    Returns:
        The keys as plain values, not checked; and what set each.

    Raises:
        RecipeError: a part is unknown, or is not YAML, or two parts name one method.
    """
    merged: dict[str, Any] = {}
    origin = Origin()
    for each in parts:
        if isinstance(each, Mapping):
            _merge(merged, dict(each), "", "the recipe that was handed in", origin)
            continue
        given = str(each)
        rate = origin.sources.get(_RATE)
        for part in _with_words_of_row(given, origin):
            if is_assignment(part) and not part.startswith(_PRESET):
                origin.words.append(Word(part, "key", f"'{part}'"))
                _assign(merged, part, origin)
            else:
                _join(merged, read_word(part), origin)
        if not is_assignment(given) and (source_rate := origin.sources.get(_RATE, rate)) != rate:
            origin.tuned = merged.get("batch_size"), str(source_rate)
    nested = {key: value for key, value in overrides.items() if "." not in key}
    _merge(merged, nested, "", _KEYWORDS, origin)
    for key, value in overrides.items():
        if "." in key:
            _set(merged, key, value, key, _KEYWORDS, origin)
    if merged.get("role") == "teacher":
        _set_for_teacher(merged, origin)
    return merged, origin


def _set_for_teacher(merged: dict[str, Any], origin: Origin) -> None:
    """Let the words of a recipe that trains its teacher count for the teacher: one that sets `steps` sets the
    `teacher.train.steps` of a pair before it as well, which would else win."""
    words = {_KEYWORDS, *(word.source for word in origin.words if word.kind == "key")}
    before: set[str] = set()
    for path, source in [*origin.sources.items()]:
        if source in words and f"teacher.train.{path}" in before:
            with contextlib.suppress(KeyError, TypeError):  # a later word has replaced the section by another
                value: Any = merged
                for key in path.split("."):
                    value = value[key]
                if not isinstance(value, dict):  # of a section its keys
                    _set(merged, f"teacher.train.{path}", value, path, source, origin)
        before.add(path)


def _with_words_of_row(given: str, origin: Origin) -> tuple[str, ...]:
    """The words of a published row, which is remembered before them; of anything else the word itself."""
    row = published_rows().get(given.removeprefix("row:"))
    if row is None:
        return (given,)
    origin.words.append(read_word(given))
    return row.words


def _join(merged: dict[str, Any], word: Word, origin: Origin) -> None:
    """Merge what a word sets; its methods come behind those that are there."""
    origin.words.append(word)
    before, more = _list(merged.get("method")), _list(word.keys.get("method"))
    twice = {*map(_method_name, before)} & {*map(_method_name, more)}
    if twice:
        name = sorted(twice)[0]
        raise RecipeError(
            f"The method '{name}' is named twice: by {word.source}, and before it by {origin.sources['method']}. Name "
            f"it once, and set its options as method.{name}.OPTION=VALUE."
        )
    _merge(merged, word.keys, "", word.source, origin)
    if before or more:
        merged["method"] = [*before, *more]


def _method_name(method: Any) -> str:
    return str(method.get("name")) if isinstance(method, dict) else str(method)


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


def require_keys(words: Iterable[str], keys: Collection[str]) -> None:
    """Refuse `key=value` of a bare key that is none of some, with the nearest of them.

    Args:
        words: parts of a recipe and settings of a verb; those that name no bare key are passed over.
        keys: that may be set.

    Raises:
        RecipeError: a word sets another key.
    """
    for key in (word.partition("=")[0] for word in words if is_assignment(word)):
        if key.isidentifier() and key not in keys:
            raise RecipeError(f"Unknown key '{key}'.{nearest(key, keys)}")


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


def _merge(base: dict[str, Any], top: dict[str, Any], prefix: str, source: str, origin: Origin) -> None:
    for key, value in top.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and isinstance(base.get(key), dict) and not _another(base[key], value):
            _merge(base[key], value, f"{path}.", source, origin)
            continue
        base[key] = value
        origin.note(path, value, source)


def _another(base: dict[str, Any], top: dict[str, Any]) -> bool:
    """Whether `top` is another thing than `base`, whose options would then make no sense: of another name, or a network
    of parts in the place of one with a name, or the other way round."""
    if "name" in top and "name" in base:
        return bool(top["name"] != base["name"])
    parts = base if "name" in top else top
    return ("name" in top or "name" in base) and {"backbone", "head"} <= parts.keys()


def _assign(merged: dict[str, Any], word: str, origin: Origin) -> None:
    """Apply `a.b=value`; the value is read as YAML, but for templates as {split}/{name}.

    `method.<name>.<option>` reaches into the list of methods.
    """
    path, _, text = word.partition("=")
    try:
        value = text if text.startswith(("{split}", "{name}")) else load_word(text)
    except yaml.YAMLError as error:
        reason = f": {error}" if isinstance(error, RefusedYamlError) else "."
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
    _merge(node, {last: value}, "".join(f"{parent}." for parent in parents), source, origin)


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
