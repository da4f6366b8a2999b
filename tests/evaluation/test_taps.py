"""A part of a resized axis, and of a view, equals the same part of the whole, resized by torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.evaluation.inference.taps import lift, taps
from segdistill.evaluation.inference.views import View
from segdistill.evaluation.settings import InferenceConfig

PARTS = [(4, 8, 2, 5), (4, 8, 0, 8), (16, 7, 3, 4), (1, 6, 2, 6), (9, 9, 4, 9), (5, 64, 60, 64), (33, 20, 0, 11)]
"""Positions of the source and of the target; the first one asked for and the one behind the last."""


def resized_rows(rows: Tensor, target: int, align_corners: bool) -> Tensor:
    """Rows (h,w) as (target,w)."""
    return F.interpolate(rows[None, None], (target, rows.shape[1]), mode="bilinear", align_corners=align_corners)[0, 0]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("source", "target", "first", "last"), PARTS)
def test_a_part_of_an_axis_is_that_part_of_the_whole(
    source: int, target: int, first: int, last: int, align_corners: bool
) -> None:
    rows = torch.randn(source, 6, generator=torch.Generator().manual_seed(source))
    want = resized_rows(rows, target, align_corners)[first:last]
    part = taps(source, target, first, last, align_corners=align_corners)
    torch.testing.assert_close(part.of(rows[part.start : part.stop], 0), want)
    torch.testing.assert_close(part.of(rows.T[:, part.start : part.stop], -1), want.T)
    matrix, start, stop = lift(source, target, first, last, align_corners)
    torch.testing.assert_close(matrix @ rows[start:stop], want)


def test_a_part_reads_no_more_of_the_source_than_it_needs() -> None:
    part = taps(4, 8, 2, 5, align_corners=False)
    assert (part.start, part.stop) == (0, 3)
    assert part.low.tolist() == [0, 1, 1]
    assert part.high.tolist() == [1, 2, 2]
    assert part.rest.tolist() == [0.75, 0.25, 0.75]


@pytest.mark.parametrize("align_images", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("size", [(20, 24), (31, 17), (60, 80)])
def test_a_window_of_a_view_is_that_part_of_the_whole_view(
    size: tuple[int, int], mirrored: bool, align_images: bool
) -> None:
    image = torch.randint(0, 256, (2, 3, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    view = View(image, size, mirrored, InferenceConfig(align_images=align_images))
    for top, left in ((0, 0), (5, 3), (size[0] - 9, size[1] - 11)):
        want = view.whole()[..., top : top + 9, left : left + 11]
        torch.testing.assert_close(view.window(top, left, (9, 11)), want)
