"""Writes what is made of the recipe's keys: docs/reference.md, and the list that shells complete words from.

python benchmarks/keys_page.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from segdistill.cli.completion import LIST
from segdistill.commands.listing import available
from segdistill.recipe.keys import Key, option_keys, recipe_keys
from segdistill.recipe.words import library

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"
WORDS = ROOT / "src" / "segdistill" / "cli" / LIST

HEAD = """# Every key

Made by `python benchmarks/keys_page.py` from the classes that define the keys. `segdistill explain KEY` says the same
in a terminal, and `segdistill schema > recipe.schema.json` writes it for editors. `~` marks keys that a resumed run may
change. Keys of `student` are those of `teacher.network`, too, and `teacher.train` takes the keys of training.
"""


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    WORDS.write_text(words(), encoding="utf-8")


def page() -> str:
    """The page of all keys: those of every recipe by section, then options by what has them."""
    parts = [HEAD]
    sections: dict[str, list[Key]] = {}
    for key in recipe_keys().values():
        inside = any(path.startswith(f"{key.path}.") for path in recipe_keys())
        if not inside and not key.path.startswith("teacher.network."):
            sections.setdefault(key.path.rpartition(".")[0], []).append(key)
    parts += [_section(name or "Of the recipe itself", keys) for name, keys in sections.items()]
    of: dict[str, list[Key]] = {}
    for key in option_keys().values():
        of.setdefault(key.option_of, []).append(key)
    parts += [_section(name, keys) for name, keys in of.items()]
    return "\n".join(parts)


def _section(title: str, keys: list[Key]) -> str:
    lines = [
        f"- **`{key.path}`**{' ~' if key.may_change else ''}: {key.type}; default `{key.default}`. {_escaped(key)}"
        for key in keys
    ]
    return f"## {title}\n\n" + "\n".join(lines) + "\n"


def _escaped(key: Key) -> str:
    return re.sub(r"(?<!`)([*_<])(?!`)", r"\\\1", key.description) if "`" not in key.description else key.description


def words() -> str:
    """A line for each word of recipes: kind, name, what it may be set to, what it says."""
    return "".join(f"{kind}\t{name}\t{' '.join(values)}\t{text}\n" for kind, name, values, text in _entries())


def _entries() -> Iterator[tuple[str, str, list[str], str]]:
    lists = tuple(f"{path}." for path, key in recipe_keys().items() if key.type.startswith("a list"))
    for path, key in {**recipe_keys(), **_options()}.items():
        values = re.split(r", | or ", key.type) if re.fullmatch(r"\w+(, \w+)*( or \w+)+", key.type) else []
        kind = "entry" if path.startswith(lists) and not key.option_of else "key"
        text = re.split(r"(?<=\.) ", key.description)[0].rstrip(".")
        yield kind, path, [value for value in values if value != "text"], text
    listed = available()
    for name, fragment in sorted(library().items()):
        yield fragment.kind, name, [], listed["recipes"][name]
    for kind, names in (("method", listed["methods"]), ("data", listed["datasets"]), ("network", listed["networks"])):
        yield from ((kind, name, [], text) for name, text in names.items() if name not in library())


def _options() -> dict[str, Key]:
    """Options by the key that a recipe has them at: a data set's below `data`, a method's below its name."""
    keys = {path: key for path, key in option_keys().items() if path.startswith("method.")}
    data = {f"data.{path.split('.')[2]}": key for path, key in option_keys().items() if path.startswith("data.")}
    return {**data, **keys}


if __name__ == "__main__":
    main()
