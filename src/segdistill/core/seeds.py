"""Seeds made of numbers, for every room: what is drawn depends on the seed and the position in the run alone."""

from __future__ import annotations

import numpy as np


def mix(*parts: int) -> int:
    """A seed that depends on several numbers and on how many there are; near inputs give unrelated seeds.

    Args:
        parts: such as the run's seed and the step, 0 or more each.

    Returns:
        63 bits.
    """
    return int(np.random.SeedSequence([len(parts), *parts]).generate_state(1, np.uint64)[0]) >> 1
