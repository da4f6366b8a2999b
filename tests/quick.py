"""Cases of a test that `make test` runs, beside those that it leaves to `make test-all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def cases(quick: Iterable[Any], slow: Iterable[Any]) -> list[Any]:
    """For `pytest.mark.parametrize`.

    quick: in every run. slow: marked `slow`; they take seconds each and look at more of what the quick ones look at. A
    case of several values is a tuple.
    """
    others = (each if isinstance(each, tuple) else (each,) for each in slow)
    return [*quick, *(pytest.param(*values, marks=pytest.mark.slow) for values in others)]
