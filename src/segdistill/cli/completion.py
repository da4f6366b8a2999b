"""What a shell completes: verbs by typer, and the names and keys of recipes from a list that the code makes."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

LIST = "completion.tsv"
"""The list, made by benchmarks/keys_page.py, so that completing a word imports nothing heavy. A test holds it."""


@dataclass(frozen=True)
class Entry:
    """A line of the list: what a word is, the word, what it may be set to, and what it says."""

    kind: str
    """Of `recipe.words.KINDS`, "key", or "entry" of a key of a list's entries, which key=value does not reach."""

    name: str
    values: tuple[str, ...]
    text: str


@functools.cache
def entries() -> tuple[Entry, ...]:
    """All words that recipes know."""
    lines = (resources.files("segdistill.cli") / LIST).read_text(encoding="utf-8").splitlines()
    parts = (line.split("\t") for line in lines)
    return tuple(Entry(kind, name, tuple(values.split()), text) for kind, name, values, text in parts)


def key_names() -> set[str]:
    """The dotted names of the keys that every recipe has."""
    return {entry.name for entry in entries() if entry.kind == "key"}


def complete_word(incomplete: str) -> Iterator[tuple[str, str]]:
    """The words of a recipe that begin so, with what they are.

    Args:
        incomplete: As far as it is typed: the beginning of a name, a key, or `key=` and the beginning of a value.
    """
    key, equals, _ = incomplete.partition("=")
    for entry in entries():
        if equals:
            words = [f"{key}={value}" for value in entry.values if entry.name == key]
        else:
            forms = {"key": f"{entry.name}=", "network": f"network:{entry.name}"}  # a network's bare name is refused
            words = [forms.get(entry.kind, entry.name)]
        yield from ((word, entry.text) for word in words if word.startswith(incomplete) and entry.kind != "entry")


def complete_name(incomplete: str) -> Iterator[tuple[str, str]]:
    """What `explain` knows: names and keys that begin so.

    Args:
        incomplete: As far as it is typed.
    """
    return ((entry.name, entry.text) for entry in entries() if entry.name.startswith(incomplete))
