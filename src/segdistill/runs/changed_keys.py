"""What differs between two recipes of a run."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any


def changed_keys(earlier: dict[str, Any], now: dict[str, Any], may_change: Collection[str]) -> list[str]:
    """What differs between two recipes of a run and may not.

    Args:
        earlier: the recipe that the run has, as plain values.
        now: the recipe that it is to go on with.
        may_change: the dotted keys that are not looked at.

    Returns:
        A line for each dotted key. One that is not set is equal to null.
    """
    return list(_differences(earlier, now, may_change, ""))


def _differences(
    earlier: dict[str, Any], now: dict[str, Any], may_change: Collection[str], prefix: str
) -> Iterator[str]:
    for key in sorted({*earlier, *now}, key=str):
        path, before, after = f"{prefix}{key}", earlier.get(key), now.get(key)
        if path in may_change:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, may_change, f"{path}.")
        elif before != after:
            yield f"{path}: {_written(before)} then, {_written(after)} now"


def _written(value: Any) -> str:
    return "null" if value is None else repr(value)
