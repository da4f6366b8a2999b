"""What the files of the command line share: where results go, and how they become JSON."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console

from segdistill.core.errors import RecipeError, SegdistillError, nearest
from segdistill.runtime.slurm import as_ranks

results = Console(highlight=False, quiet={**os.environ, **as_ranks(os.environ)}.get("RANK", "0") != "0")
"""Results go to standard output, from the main process only."""

Resume = Annotated[bool, typer.Option("--resume", help="Continue the run that the folder holds.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


class ProcessFailedError(SegdistillError):
    """A process of a launched command has failed and has printed why itself.

    Args:
        message: For people.
        code: The exit status to leave with.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def no_more_words(words: Sequence[str], keys: type[BaseModel]) -> None:
    """Refuse words that a verb has no use for.

    Args:
        words: What is left of them.
        keys: Describes the verb's keys.

    Raises:
        RecipeError: There is one.
    """
    for word in words:
        key, equals, _ = word.partition("=")
        key_names = [field.alias or name for name, field in keys.model_fields.items()]
        what = f"Unknown key '{key}'.{nearest(key, key_names)}" if equals else f"'{word}' is not key=value."
        raise RecipeError(what)


def print_result(value: Any, as_json: bool, *shown: object) -> None:
    """Print a result.

    Args:
        value: The result as plain values.
        as_json: Whether it is printed as JSON.
        shown: What people see in its place: tables, and lines that are not wrapped.
    """
    if as_json:
        print_json(value)
        return
    for each in shown:
        results.print(each, soft_wrap=isinstance(each, str), markup=False)


def print_json(value: Any) -> None:
    """`value` as indented JSON on standard output, from the main process only.

    Args:
        value: Plain values; letters beyond ASCII are written as they are, numbers that are not finite as null, and what
            JSON has no form for, as a date of YAML, as text.
    """
    if not results.quiet:
        sys.stdout.write(json.dumps(_strict(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _strict(value: Any) -> Any:
    """The value as JSON can hold it."""
    if isinstance(value, dict):
        keys = (key if key is None or isinstance(key, str | int) else str(key) for key in value)
        return dict(zip(keys, map(_strict, value.values()), strict=True))
    if isinstance(value, list | tuple):
        return [_strict(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
