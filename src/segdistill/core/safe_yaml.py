"""Reading YAML that others wrote: plain values only, of sane size; nothing is executed, fetched or expanded."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer

MOST_CHARACTERS = 1 << 20
MOST_VALUES = 200_000
MOST_LEVELS = 40


class YamlTooLargeError(yaml.YAMLError):
    """YAML that is larger or deeper than any recipe is, or that unfolds to it; or a value that Python can't hold."""


def load_yaml(text: str) -> Any:
    """The value of `text`: mappings, lists, words, numbers, dates. Errors: `yaml.YAMLError`.

    Aliases count as often as they are used, so that a few lines can't unfold to billions of values.
    """
    if len(text) > MOST_CHARACTERS:
        raise YamlTooLargeError(f"it has {len(text)} characters; expected at most {MOST_CHARACTERS}")
    if _Fast is not None:
        with contextlib.suppress(yaml.YAMLError, ValueError):  # the slow one's errors show the line
            return _value(_Fast(text))
    return _value(_Loader(text))


def _value(loader: Any) -> Any:
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {}, ())
        return loader.construct_document(node)
    except ValueError as error:  # such as the date 2024-13-45, or a number of 5000 digits
        raise YamlTooLargeError(str(error)) from error
    finally:
        loader.dispose()


def read_yaml(path: Path) -> Any:
    """The value of a file; one of absurd size is refused before it is read. Errors: OSError, `yaml.YAMLError`."""
    size = path.stat().st_size
    if size > 4 * MOST_CHARACTERS:
        raise YamlTooLargeError(f"it has {size} bytes; expected at most {4 * MOST_CHARACTERS}")
    try:
        return load_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise YamlTooLargeError(f"it is no UTF-8 text: {error}") from error


class _Shallow(Composer):
    """Refuses what is nested too deeply before it runs out of stack."""

    _level = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._level += 1
        if self._level > MOST_LEVELS:
            raise YamlTooLargeError(f"it is nested more than {MOST_LEVELS} levels deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self._level -= 1


class _Loader(_Shallow, yaml.SafeLoader):
    """PyYAML's safe loader."""


_Fast: Any = None
if yaml.__with_libyaml__:

    class _FastLoader(_Shallow, yaml.CSafeLoader):
        """The same with the scanner in C; recipes are read three to four times as fast."""

        def __init__(self, text: str) -> None:
            yaml.CSafeLoader.__init__(self, text)
            Composer.__init__(self)

    _Fast = _FastLoader


def _count(node: yaml.Node, counts: dict[int, int], inside: tuple[int, ...]) -> int:
    """How many values the node unfolds to."""
    if id(node) in inside:
        raise YamlTooLargeError("an alias (*) refers to what it is part of")
    if id(node) in counts:
        return counts[id(node)]
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        parts = node.value
    total = 1 + sum(_count(part, counts, (*inside, id(node))) for part in parts)
    if total > MOST_VALUES:
        raise YamlTooLargeError(f"its aliases unfold to more than {MOST_VALUES} values")
    counts[id(node)] = total
    return total
