"""How a recipe that is taken apart, and an explanation, look in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from rich.console import Group
from rich.table import Table
from rich.text import Text

from segdistill.commands.explain import Explanation
from segdistill.commands.recipe import RecipeParts, SetKey

_DEFAULT = "the default"


def recipe_lines(done: RecipeParts, *, show_all: bool) -> Iterator[Table | str]:
    """The words, the recipe as YAML with what set each key, then warnings and problems.

    Args:
        done: The recipe taken apart.
        show_all: Whether keys that have their default are shown, too.
    """
    words = Table("word", "kind", "from", box=None, title="words", title_justify="left", padding=(0, 2, 0, 0))
    for word in done.words:
        words.add_row(Text(word.text), word.kind, word.file)
    yield words
    keys = [key for key in done.keys if show_all or key.origin != _DEFAULT]
    yield ""
    yield from _as_yaml(keys)
    left = sum(key.origin == _DEFAULT for key in done.keys)
    if left and not show_all:
        yield f"# and {left} keys with their defaults: --all shows them"
    yield from (f"Warning: {text}" for text in done.warnings)
    yield from (f"Problem: {text}" for text in done.problems)


def _as_yaml(keys: list[SetKey]) -> Iterator[str]:
    """Lines of YAML, nested as keys are, each key with what set it behind it."""
    tree: dict[str, Any] = {}
    for key in keys:
        node = tree
        *parents, last = key.path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = key
    yield from _nested(tree, "")


def _nested(tree: dict[str, Any], indent: str) -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _nested(value, f"{indent}  ")
        else:
            text = yaml.safe_dump({name: value.value}, default_flow_style=True, width=10_000, allow_unicode=True)
            over = f", over {', '.join(value.replaced)}" if value.replaced else ""
            yield f"{indent}{text.strip()[1:-1]}  # {value.origin}{over}"


def explanation_table(explanation: Explanation) -> Group:
    """What something is: its text, then a line for each fact and option.

    Args:
        found: What `explain` gave.
    """
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in explanation.facts.items():
        facts.add_row(name, Text(text))
    parts: list[Any] = [Text(f"{explanation.name} ({explanation.kind})", style="bold"), Text(explanation.text), facts]
    if explanation.options:
        options = Table("option", "default", "", box=None, padding=(0, 2, 0, 0))
        for key in explanation.options:
            options.add_row(key.path.rpartition(".")[2], key.default, Text(f"{key.description} ({key.type})"))
        parts.append(options)
    return Group(*parts, "")
