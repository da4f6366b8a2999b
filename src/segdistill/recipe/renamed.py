"""Keys and words of recipes that have another name now: they are refused with it."""

from __future__ import annotations

import re

_KEYS = {
    "run": "out",
    "accumulate": "grad_accumulation",
    "teacher.run": "teacher.weights",
    "teacher.train.accumulate": "teacher.train.grad_accumulation",
    "data.colours": "data.colors",
    "data.mask_colours": "data.mask_colors",
    "augment.pad_colour": "augment.pad_color",
    "method.kd.standardise": "method.kd.standardize",
}
_WORDS = {"openmmlab": "openmmlab_pipeline"}


def name_new_key(line: str) -> str:
    """A line of an error; where it complains of an unknown key that was renamed, one that says the new name.

    Args:
        line: As "Unknown key 'run'. Did you mean ..."; any other line comes back as it is.

    Returns:
        As "Key 'run' is called 'out' now."
    """
    unknown = re.match(r"Unknown key '([\w.]+)'\.", line)
    if unknown is None or unknown[1] not in _KEYS:
        return line
    return f"Key '{unknown[1]}' is called '{_KEYS[unknown[1]]}' now."


def new_word(word: str) -> str | None:
    """What a fragment is called now.

    Args:
        word: the name it may have had.

    Returns:
        The new name; None if no fragment had that one.
    """
    return _WORDS.get(word)
