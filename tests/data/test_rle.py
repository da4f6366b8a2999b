"""Run lengths: as numbers, as text, and the published examples."""

from __future__ import annotations

import numpy as np
import pytest
from run_lengths import encode, packed

from segdistill.data.annotations.rle import decode


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_run_lengths_as_numbers_and_as_text(seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((37, 53)) < share
    runs = encode(mask)
    assert np.array_equal(decode((37, 53), runs), mask)
    assert np.array_equal(decode((37, 53), packed(runs)), mask)


@pytest.mark.parametrize(
    ("runs", "pixels"), [([2, 3, 1, 1], [0, 0, 1, 1, 1, 0, 1]), ([0, 6, 1], [1, 1, 1, 1, 1, 1, 0])]
)
def test_the_examples_of_the_published_format(runs: list[int], pixels: list[int]) -> None:
    """The two examples in the header of the COCO API's mask format."""
    assert decode((7, 1), runs)[:, 0].astype(int).tolist() == pixels


def test_long_runs_as_text() -> None:
    mask = np.zeros((700, 900), bool)
    mask[100:650, 50:800] = True
    mask[300:310, 60:70] = False
    assert np.array_equal(decode((700, 900), packed(encode(mask))), mask)
