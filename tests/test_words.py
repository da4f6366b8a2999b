"""The code speaks the field's language: words that only its writers would understand are not in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("src", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))

NAMES = {
    "told": "message, line",
    "said": "message, answer",
    "whence": "source",
    "sure": "confidence",
    "taught": "teacher_output, teacher",
    "judged": "checked",
    "obstacle": "incompatibility",
    "remark": "warning or description",
    "rehearsal": "dry_run",
    "rehearse": "dry_run",
    "contender": "entry",
    "proof": "result, study",
    "influence": "method_schedule",
    "unfilled": "skip_init",
    "cast": "models",
    "players": "models",
}
"""Names that nothing in the code bears, alone or as a word of a longer name, and what to write instead."""

CLASSES = {
    "found": "what was found",
    "known": "what is known",
    "own": "what it belongs to",
    "say": "log",
    "some": "which ones",
    "Taken": "AugmentedSample",
    "Look": "what was read",
    "Told": "Message",
    "AbsurdYamlError": "RefusedYamlError",
    "leave_the_group": "worker_init",
    "tells_of_a_dead_worker": "is_dead_worker_error",
}
"""Whole names, and what they became."""

PHRASES = {
    r"is no (picture|image|run folder|study|recipe|data set|network)\b": "is not a ...",
    r"\bthe dear part\b": "the costly part",
    r"\blearnt by heart\b": "memorised",
    r"\bcolour": "color",
}
"""What no text of the code says, and what to write instead."""

_WORD_OF_A_NAME = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a file defines or binds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def banned(text: str, place: str) -> list[str]:
    """A line for each banned word of a file's `text`: where it stands and what to write."""
    lines = []
    for line, name in names(ast.parse(text)):
        if name in CLASSES:
            lines.append(f"{place}:{line}: {name}; write {CLASSES[name]}")
        words = {word.lower() for word in _WORD_OF_A_NAME.findall(name)}
        lines += [f"{place}:{line}: {name}; write {NAMES[word]}" for word in sorted(words & NAMES.keys())]
    for number, line_text in enumerate(text.splitlines(), 1):
        for phrase, better in PHRASES.items():
            if match := re.search(phrase, line_text):
                lines.append(f"{place}:{number}: '{match[0]}'; write '{better}'")
    return lines


OLD_NAMES = {
    "src/segdistill/recipe/renamed.py", "src/segdistill/models/files.py", "tests/test_recipe.py", "tests/test_words.py",
}  # fmt: skip
"""Files that must know what keys were called once, and this one."""


def test_the_code_has_no_banned_words() -> None:
    lines = [
        line
        for path in FILES
        if (place := path.relative_to(ROOT).as_posix()) not in OLD_NAMES
        for line in banned(path.read_text(encoding="utf-8"), place)
    ]
    assert lines == [], "\n".join(lines)


def test_no_module_bears_a_banned_name() -> None:
    assert [path for path in FILES if set(path.stem.split("_")) & NAMES.keys()] == []


def test_banned_words_are_found_in_names_and_texts() -> None:
    text = "class Contender:\n    def told_of(self, whence):\n        raise ValueError('x is no study')\n"
    assert banned(text, "a.py") == [
        "a.py:1: Contender; write entry",
        "a.py:2: told_of; write message, line",
        "a.py:2: whence; write source",
        "a.py:3: 'is no study'; write 'is not a ...'",
    ]


def test_good_words_are_left_alone() -> None:
    assert (
        banned("def forecast(measure: int) -> str:\n    broadcast = 'is not a study'\n    return broadcast\n", "a")
        == []
    )
