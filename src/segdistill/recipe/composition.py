"""Fragments of YAML and `key=value` words, merged left to right, each key remembering where it came from."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from segdistill.core.errors import RecipeError, nearest
from segdistill.recipe.merging import RATE, Origin, as_list, assign, merge, set_key
from segdistill.recipe.published_rows import published_rows
from segdistill.recipe.words import Word, read_word

_PRESET = "preset="
_KEYWORDS = "the call's keyword arguments"


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
            merge(merged, dict(each), "", "the recipe that was handed in", origin)
            continue
        given = str(each)
        rate = origin.sources.get(RATE)
        for part in _with_words_of_row(given, origin):
            if is_assignment(part) and not part.startswith(_PRESET):
                origin.words.append(Word(part, "key", f"'{part}'"))
                assign(merged, part, origin)
            else:
                _join(merged, read_word(part), origin)
        if not is_assignment(given) and (source_rate := origin.sources.get(RATE, rate)) != rate:
            origin.tuned = merged.get("batch_size"), str(source_rate)
    nested = {key: value for key, value in overrides.items() if "." not in key}
    merge(merged, nested, "", _KEYWORDS, origin)
    for key, value in overrides.items():
        if "." in key:
            set_key(merged, key, value, key, _KEYWORDS, origin)
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
                value = _value_at(merged, path)
                if path.endswith(".name"):
                    _drop_options_of_another(value, f"teacher.train.{path.removesuffix('.name')}", merged, before)
                if not isinstance(value, dict):  # of a section its keys
                    set_key(merged, f"teacher.train.{path}", value, path, source, origin)
        before.add(path)


def _drop_options_of_another(name: Any, path: str, merged: dict[str, Any], before: Collection[str]) -> None:
    """Remove what was set before in a section that is now of another name: those options would make no sense."""
    section = _value_at(merged, path)
    if section["name"] != name:
        for key in [key for key in section if f"{path}.{key}" in before]:
            del section[key]


def _value_at(tree: Any, path: str) -> Any:
    """The value of a dotted path; KeyError or TypeError where there is none."""
    for key in path.split("."):
        tree = tree[key]
    return tree


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
    before, more = as_list(merged.get("method")), as_list(word.keys.get("method"))
    twice = {*map(_method_name, before)} & {*map(_method_name, more)}
    if twice:
        name = sorted(twice)[0]
        raise RecipeError(
            f"The method '{name}' is named twice: by {word.source}, and before it by {origin.sources['method']}. Name "
            f"it once, and set its options as method.{name}.OPTION=VALUE."
        )
    merge(merged, word.keys, "", word.source, origin)
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
        assign(merged, word, Origin())
    return merged
