"""What the doctor finds: one sentence on what is wrong and one on what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["problem", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        level: a "problem" spoils a run, a "warning" may, a "note" is worth knowing.
        where: a split, or what was looked at.
        text: what is wrong.
        advice: what to do; "" for a note.
        files: all files that it is about.
    """

    level: Level
    where: str
    text: str
    advice: str = ""
    files: tuple[str, ...] = ()


def shortened(names: list[str], most: int = 5) -> str:
    """The first few names and how many more there are.

    Args:
        names: all of them.
        most: of them to list.

    Returns:
        One line.
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
