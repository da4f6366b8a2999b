"""Seeds made of numbers, for every room: what is drawn depends on the seed and the place in the run alone."""

from __future__ import annotations

import numpy as np


def mix(*parts: int) -> int:
    """A 63-bit seed that depends on all of `parts` and their number; near inputs give unrelated seeds."""
    return int(np.random.SeedSequence([len(parts), *parts]).generate_state(1, np.uint64)[0]) >> 1
