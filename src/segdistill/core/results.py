"""What public functions return: plain values for JSON, one line in a terminal, a table in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from html import escape
from pathlib import Path
from typing import Any

_LONGEST = 40  # characters of a value in one line


class Result:
    """What a public function returns. Subclasses are dataclasses, made with `repr=False`."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {key: _plain(value) for key, value in asdict(self).items()}  # type: ignore[call-overload]

    def records(self) -> Sequence[dict[str, Any]]:
        """The lines of its table: heading -> value. Nothing for a result that is no table."""
        return ()

    def to_frame(self) -> Any:
        """Its table as a pandas data frame.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError as error:
            raise ImportError(
                "to_frame needs pandas: pip install pandas. `records()` gives the same without it."
            ) from error
        return pandas.DataFrame([*self.records()])

    def __repr__(self) -> str:
        shown = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        short = {key: value for key, value in shown.items() if isinstance(value, str | int | float | Path)}
        parts = [f"{key}={str(value)[:_LONGEST]}" for key, value in short.items()]
        return f"{type(self).__name__}({', '.join(parts)})"

    def _repr_html_(self) -> str:
        rows = [*self.records()]
        if not rows:
            return f"<code>{escape(repr(self))}</code>"
        headings = [*rows[0]]
        head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
        lines = ("".join(f"<td>{escape(_cell(row.get(heading)))}</td>" for heading in headings) for row in rows)
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
