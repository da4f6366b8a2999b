"""Values of a notebook that a recipe can't write: numpy's numbers, as plain ones."""

from __future__ import annotations

from typing import Any

import numpy as np


def without_numpy(value: Any) -> Any:
    """A value with Python's own numbers in the place of numpy's, which neither YAML nor JSON holds.

    Args:
        value: As a keyword argument has it; of mappings and lists the entries, too.

    Returns:
        The plain value; what is neither, and a list without such entries, as of samples, is the same object.
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {key: without_numpy(each) for key, each in value.items()}
    if type(value) in (list, tuple) and any(isinstance(each, np.generic | dict) for each in value):
        return type(value)(map(without_numpy, value))
    return value
