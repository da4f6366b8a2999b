"""Reading YAML that others wrote: plain values only, of sane size; nothing is executed, fetched or expanded."""

from __future__ import annotations

import contextlib
import re
from datetime import date
from pathlib import Path
from typing import Any

import yaml

MOST_CHARACTERS = 1 << 20
MOST_VALUES = 200_000
MOST_LEVELS = 40

_WHOLE = re.compile(r"[-+]?0b[01_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+")
_FRACTION = re.compile(
    r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


_TRUTH = re.compile("true|True|TRUE|false|False|FALSE")


def _without_surprises(loader: Any) -> Any:
    """The loader with the plain values of YAML 1.2: 255:1 is not 15301, 010 is not 8, and no, yes and off are words."""
    plain = {"tag:yaml.org,2002:int": _WHOLE, "tag:yaml.org,2002:float": _FRACTION, "tag:yaml.org,2002:bool": _TRUTH}
    rules = {
        first: [(tag, re.compile(f"(?:{plain[tag].pattern})$") if tag in plain else rule) for tag, rule in each]
        for first, each in loader.yaml_implicit_resolvers.items()
    }
    return type("Loader", (loader,), {"yaml_implicit_resolvers": rules})


_SLOW = _without_surprises(yaml.SafeLoader)
_FAST: Any = _without_surprises(yaml.CSafeLoader) if hasattr(yaml, "CSafeLoader") else None
"""The safe loader in C, where PyYAML was built with it."""


class RefusedYamlError(yaml.YAMLError):
    """YAML that is larger or deeper than any recipe is, or that unfolds to it; a value that Python can't hold; or a key
    that is given twice."""


def load_yaml(text: str) -> Any:
    """The value of a text: mappings, lists, words, numbers, dates.

    Args:
        text: One document. Aliases count as often as they are used, so that few lines can't unfold to billions of
            values.

    Returns:
        The value; None for an empty text.

    Raises:
        yaml.YAMLError: The text is not YAML, is too large or deep, or holds a key twice (`RefusedYamlError`).
    """
    if len(text) > MOST_CHARACTERS:
        raise RefusedYamlError(f"it has {len(text)} characters; expected at most {MOST_CHARACTERS}")
    if _FAST is not None:
        with contextlib.suppress(yaml.YAMLError):  # the errors of the slow one show the line
            return _load(text, _FAST)
    return _load(text, _SLOW)


def read_yaml(path: Path) -> Any:
    """The value of a file; one of absurd size is refused before it is read.

    Args:
        path: A file in UTF-8.

    Returns:
        As `load_yaml`.

    Raises:
        OSError: The file can't be read.
        yaml.YAMLError: As `load_yaml`; `RefusedYamlError` also for a file that is not UTF-8.
    """
    size = path.stat().st_size
    if size > 4 * MOST_CHARACTERS:
        raise RefusedYamlError(f"it has {size} bytes; expected at most {4 * MOST_CHARACTERS}")
    try:
        return load_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise RefusedYamlError(f"it is not UTF-8 text: {error}") from error


def _load(text: str, loader: Any) -> Any:
    try:
        _check(text, loader)
        return yaml.load(text, loader)
    except ValueError as error:  # such as the date 2024-13-45, or a number of 5000 digits
        raise RefusedYamlError(str(error)) from error
    except (LookupError, AttributeError) as error:  # PyYAML's own, of "!!bool perhaps"
        raise RefusedYamlError("a value does not fit its tag, as in !!bool perhaps") from error


def _check(text: str, loader: Any) -> None:
    """Refuse what is nested too deeply or unfolds to too many values, before anything is made of it."""
    total = 0
    keys = _Keys()
    sizes: dict[str | None, int] = {}  # of what each anchor (&) names, once it has ended
    inside: list[tuple[str | None, int]] = []  # the mappings and lists around the event: anchor, total before it
    for event in yaml.parse(text, loader):
        keys.see(event)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in (anchor for anchor, _ in inside):
                raise RefusedYamlError("an alias (*) refers to what it is part of")
            total += sizes.get(event.anchor, 0)
        elif isinstance(event, yaml.CollectionStartEvent):
            inside.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = inside.pop()
            sizes[anchor] = total - before
        elif isinstance(event, yaml.ScalarEvent):
            sizes[event.anchor] = 1
            total += 1
        if len(inside) > MOST_LEVELS:
            raise RefusedYamlError(f"it is nested more than {MOST_LEVELS} levels deep")
        if total > MOST_VALUES:
            raise RefusedYamlError(f"its aliases unfold to more than {MOST_VALUES} values")


class _Keys:
    """Refuses a key that a mapping holds twice, of which YAML would keep the last without a word."""

    def __init__(self) -> None:
        self._open: list[tuple[set[str] | None, bool]] = []
        """Of the mappings and lists around the event: the keys of a mapping, and whether a key is next."""

    def see(self, event: yaml.Event) -> None:
        """Look at the next event."""
        if isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
        elif isinstance(event, yaml.NodeEvent):
            self._count(event)
            if isinstance(event, yaml.CollectionStartEvent):
                self._open.append((set() if isinstance(event, yaml.MappingStartEvent) else None, True))

    def _count(self, event: yaml.NodeEvent) -> None:
        """A key or value of the innermost mapping."""
        keys, is_key = self._open[-1] if self._open else (None, False)
        if keys is None:
            return
        self._open[-1] = (keys, not is_key)
        if is_key and isinstance(event, yaml.ScalarEvent) and event.value != "<<":
            if event.value in keys:
                where = f", again in line {event.start_mark.line + 1}" if event.start_mark is not None else ""
                raise RefusedYamlError(f"the key '{event.value}' is given twice in one mapping{where}")
            keys.add(event.value)


def load_word(text: str) -> Any:
    """The value of a word of a command line: as `load_yaml`, and {0:0,255:1} needs no blanks after its colons.

    With a quote in it, it is read to the letter. No part of a name is a comment, as in "set #2", nor is a name a date.

    Args:
        text: What stands behind the "=".

    Returns:
        The value.

    Raises:
        yaml.YAMLError: As `load_yaml`.
    """
    value = load_yaml(text)
    commented = re.search(r"(^|\s)#", text) and not isinstance(value, dict | list) and text.strip()[0] not in "'\""
    if commented or isinstance(value, date):
        return text
    if not isinstance(value, dict) or "'" in text or '"' in text:
        return value
    pairs = [key.split(":", 1) if _is_glued(key, each) else (key, each) for key, each in value.items()]
    parted = {_plain(key): _plain(each) for key, each in pairs}
    return parted if len(parted) == len(value) else value


def _is_glued(key: object, value: object) -> bool:
    """Whether YAML has taken `key:value` for a key without a value."""
    return value is None and isinstance(key, str) and re.fullmatch(r"[^:]+:[^:]+", key) is not None


def _plain(value: Any) -> Any:
    return load_yaml(value) if isinstance(value, str) else value


def not_text(value: object) -> str:
    """What became of a name that YAML read as something else, and how to write it.

    Args:
        value: as YAML read it.

    Returns:
        A sentence.
    """
    if isinstance(value, bool):
        word = "true" if value else "false"
        return f"YAML reads {word} as a truth value. Put such names in quotes, as in ['true', 'false']."
    return "YAML reads it as a number or nothing. Put such names in quotes, as in ['1', 'null']."
