"""What a difference over seeds allows to say."""

from __future__ import annotations

from typing import Literal

from segdistill.studies.result import Gain

Verdict = Literal["gain", "loss", "unclear", "one seed"]


def verdict(gain: Gain) -> Verdict:
    """What an interval allows to say.

    Args:
        gain: Over seeds.

    Returns:
        "gain" or "loss" if the interval leaves 0 out, "unclear" if not, "one seed" if there is none.
    """
    if gain.low is None or gain.high is None:
        return "one seed"
    return "gain" if gain.low > 0 else "loss" if gain.high < 0 else "unclear"
