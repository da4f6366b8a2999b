"""Writes the sections of docs/methods.md: every method's docstring and options, and its measured cost.

    python benchmarks/methods_page.py

The cost is that of results/methods.json.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from pathlib import Path
from typing import Any

from segdistill.core.discovery import options_of
from segdistill.methods import Method, method_names

PAGE = Path(__file__).parents[1] / "docs" / "methods.md"
RESULTS = Path(__file__).parent / "results"
START, END = "<!-- made by benchmarks/methods_page.py -->\n", "<!-- end of what is made -->"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    PAGE.write_text(before + START + sections() + END + rest.partition(END)[2], encoding="utf-8")


def sections() -> str:
    costs = _costs()
    return "".join(_section(name, cls, costs.get(name)) for name, cls in method_names().items())


def _section(name: str, cls: type[Method], cost: dict[str, Any] | None) -> str:
    first, _, body = inspect.cleandoc(cls.__doc__ or "").partition("\nArgs:\n")[0].partition("\n\n")
    options = options_of(cls).model_fields
    needs = "the map that `source` names" if "source" in options else ", ".join(sorted(cls.needs))
    described = _described(cls)
    if missing := options.keys() - described.keys():
        raise SystemExit(
            f"The docstring of {cls.__name__} says nothing about {', '.join(sorted(missing))} in its Args."
        )
    lines = [f"- `{key}: {_plain(field.default)}`: {_escaped(described[key])}" for key, field in options.items()]
    parts = [f"## {name}", first, _markdown(body.strip("\n")), f"Reads: {needs}. Options:", "\n".join(lines)]
    if cost:
        sizes = "; ".join(f"{size} {row['ours_s']:.3g} s and {row['ours_mib']:.0f} MiB" for size, row in cost.items())
        parts.append(f"Measured cost, forward and backward: {sizes} (see [Cost](#cost)).")
    return "\n\n".join(parts) + "\n\n"


def _described(cls: type[Method]) -> dict[str, str]:
    """Option -> its sentences in the `Args:` of the class, or of the one that it hands its options on to."""
    described: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        section = inspect.cleandoc(each.__doc__ or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
        for entry in re.split(r"\n(?! {5})", section):
            key, _, text = entry.strip().partition(": ")
            described[key] = " ".join(text.split())
    return described


def _markdown(text: str) -> str:
    """A docstring's paragraphs; runs of indented lines, which are formulas, become code."""
    blocks: list[str] = []
    for paragraph in text.split("\n\n"):
        for indented, lines in _runs_of(paragraph.splitlines()):
            block = "\n".join(lines)
            blocks.append(textwrap.indent(textwrap.dedent(block), "    ") if indented else _escaped(block))
    return "\n\n".join(blocks)


def _runs_of(lines: list[str]) -> list[tuple[bool, list[str]]]:
    runs: list[tuple[bool, list[str]]] = []
    for line in lines:
        indented = line.startswith("  ") or bool(re.match(r"L = ", line))
        if not runs or runs[-1][0] != indented:
            runs.append((indented, []))
        runs[-1][1].append(line)
    return runs


def _escaped(text: str) -> str:
    """The text with its stars and underscores as they are, but in `code`."""
    parts = text.split("`")
    return "`".join(part if place % 2 else re.sub(r"([*_])", r"\\\1", part) for place, part in enumerate(parts))


def _plain(value: Any) -> str:
    return (
        {None: "null", True: "true", False: "false"}.get(value, str(value))
        if not isinstance(value, float)
        else f"{value:g}"
    )


def _costs() -> dict[str, dict[str, Any]]:
    costs: dict[str, dict[str, Any]] = {}
    for row in json.loads((RESULTS / "methods.json").read_text(encoding="utf-8"))["rows"]:
        costs.setdefault(row["row"], {})[row["size"]] = row
    return costs


if __name__ == "__main__":
    main()
