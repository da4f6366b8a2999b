"""One key of a recipe set over another, and where each came from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import BaseModel

from segdistill.core.errors import RecipeError, nearest
from segdistill.core.safe_yaml import RefusedYamlError, load_word
from segdistill.recipe.words import Word

RATE = "optimizer.lr"


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
        return self.tuned[0] if self.tuned and self.tuned[1] == self.sources.get(RATE) else None

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


def assign(merged: dict[str, Any], word: str, origin: Origin) -> None:
    """Apply `a.b=value`; the value is read as YAML, but for templates as {split}/{name}.

    Args:
        merged: the keys so far.
        word: `key=value`; `method.<name>.<option>` reaches into the list of methods.
        origin: remembers what has set the key.

    Raises:
        RecipeError: the value is not YAML, or the key can't be set, see `set_key`.
    """
    path, _, text = word.partition("=")
    try:
        value = text if text.startswith(("{split}", "{name}")) else load_word(text)
    except yaml.YAMLError as error:
        reason = f": {error}" if isinstance(error, RefusedYamlError) else "."
        raise RecipeError(f"'{word[:100]}': {text[:100]!r} is not a YAML value{reason}") from error
    set_key(merged, path, value, word, f"'{word}'", origin)


def set_key(merged: dict[str, Any], path: str, value: Any, word: str, source: str, origin: Origin) -> None:
    """Set the key of a dotted path.

    Args:
        merged: the keys so far.
        path: of the key.
        value: that it gets; a section is merged with what is there.
        word: what sets it, for errors.
        source: the same for the origin.
        origin: remembers what has set the key.

    Raises:
        RecipeError: the path names no key, a parent has none, or the method is not in the recipe.
    """
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
    merge(node, {last: value}, "".join(f"{parent}." for parent in parents), source, origin)


def _named_method(merged: dict[str, Any], name: str, word: str) -> dict[str, Any]:
    methods = as_list(merged.get("method"))
    for index, method in enumerate(methods):
        method = method.model_dump(exclude_unset=True) if isinstance(method, BaseModel) else method
        methods[index] = method = {"name": method} if isinstance(method, str) else dict(method)
        if method.get("name") == name:
            merged["method"] = methods
            return method
    names = [method if isinstance(method, str) else str(method.get("name")) for method in methods]
    raise RecipeError(f"'{word}': no method '{name}' is in the recipe.{nearest(name, names) if names else ''}")


def merge(base: dict[str, Any], top: dict[str, Any], prefix: str, source: str, origin: Origin) -> None:
    """Set keys over others: sections are merged, all else is replaced, and so is a section of another name.

    Args:
        base: the keys so far.
        top: those that come over them.
        prefix: the path of both with a dot at its end, or "".
        source: what sets them.
        origin: remembers what has set each key.
    """
    for key, value in top.items():
        path = f"{prefix}{key}"
        if path == "teacher" and value is not None and not isinstance(value, dict):
            value = _teacher_keys(value)
        if isinstance(value, dict) and isinstance(base.get(key), dict) and not _another(base[key], value):
            merge(base[key], value, f"{path}.", source, origin)
            continue
        base[key] = value
        origin.note(path, value, source)


def _teacher_keys(value: Any) -> Any:
    """The keys of a teacher that is named by itself, over those of a pair before it."""
    from segdistill.recipe.teacher import teacher_keys  # imports torch, which completing a word does not need

    return teacher_keys(value)


def _another(base: dict[str, Any], top: dict[str, Any]) -> bool:
    """Whether `top` is another thing than `base`, whose options would then make no sense: of another name, or a network
    of parts in the place of one with a name, or the other way round."""
    if "name" in top and "name" in base:
        return bool(top["name"] != base["name"])
    parts = base if "name" in top else top
    return ("name" in top or "name" in base) and {"backbone", "head"} <= parts.keys()


def as_list(value: Any) -> list[Any]:
    """A value that may stand alone as a list.

    Args:
        value: None is an empty list.
    """
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
