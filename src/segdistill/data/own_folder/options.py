"""What a recipe's words mean as options of one's own folder, where YAML has made something else of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from segdistill.core.errors import DataError
from segdistill.core.pixels import PixelFormat, Range
from segdistill.core.safe_yaml import not_text

_WITHOUT_BLANK = re.compile(r"(\d+):(\S+)")


def class_names(value: Any) -> Any:
    """`data.classes` as it was given, with names that YAML has not changed.

    Args:
        value: a list of names, a path or None.

    Returns:
        The same.

    Raises:
        ValueError: YAML read a name as a truth value or number.
    """
    for name in value if isinstance(value, list) else ():
        if not isinstance(name, str):
            raise ValueError(f"holds {name!r}: {not_text(name)[:-1]}")
    return value


def raw_values(value: Any) -> Any:
    """`data.values` with its keys as numbers, also where the blank after a colon is missing, as in {0:0,255:1}.

    Args:
        value: a mapping from raw value to class, or None.

    Returns:
        The mapping.

    Raises:
        ValueError: a class is a truth value, which YAML made of a word.
    """
    if not isinstance(value, dict):
        return value
    parsed: dict[Any, Any] = {}
    for key, target in value.items():
        match = _WITHOUT_BLANK.fullmatch(key) if isinstance(key, str) and target is None else None
        if match is not None:
            key, text = int(match[1]), match[2]
            target = None if text in {"null", "~"} else int(text) if text.isdecimal() else text
        if isinstance(target, bool) or isinstance(key, bool):
            raise ValueError(
                f"Input holds {key!r}: {target!r}. {not_text(target if isinstance(target, bool) else key)}"
            )
        if key in parsed:
            raise ValueError(f"Input names the value {key!r} twice")
        parsed[key] = target
    return parsed


def as_pixel_format(channels: int, ranges: Sequence[Any] | None) -> PixelFormat:
    """What `data.channels` and `data.range` say of images.

    Args:
        channels: of a pixel.
        ranges: the stored values that become 0 and 1, one pair or one for each channel; None for bytes.

    Returns:
        The same, checked.

    Raises:
        DataError: the pairs are not ascending numbers, or not one for each channel.
    """
    if ranges is None:
        return PixelFormat(channels)
    if not ranges:
        raise DataError("data.range: found []; expected two numbers, as [0, 4095], or a pair for each channel.")
    pairs: list[Range] = [tuple(each) for each in (ranges if isinstance(ranges[0], Sequence) else [ranges])]
    if len(pairs) not in (1, channels):
        raise DataError(
            f"data.range has {len(pairs)} pairs and data.channels={channels}. Give one pair, or one for each."
        )
    for low, high in pairs:
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise DataError(f"data.range: found [{low}, {high}]; expected two numbers, the darker one first.")
    return PixelFormat(channels, tuple((float(low), float(high)) for low, high in pairs))
