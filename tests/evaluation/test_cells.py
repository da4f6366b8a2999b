"""Classes from coarse scores equal those of torch's upsampling and argmax."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.evaluation.inference.cells import largest


def trained_scores(classes: int, height: int, width: int) -> Tensor:
    """As a trained network's: patches of one class, blurred at their borders, and noise."""
    patches = torch.randint(0, classes, (height // 4 + 1, width // 4 + 1))
    label = patches.repeat_interleave(4, 0).repeat_interleave(4, 1)[:height, :width]
    scores = torch.randn(classes, height, width)
    scores.scatter_add_(0, label[None], torch.full((1, height, width), 8.0))
    return F.avg_pool2d(scores[None], 3, 1, 1)[0]


def upsampled(scores: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    return F.interpolate(scores[None].double(), size=size, mode="bilinear", align_corners=align_corners)[0]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("classes", "coarse", "size"),
    [
        (150, (16, 22), (128, 171)),
        (19, (16, 32), (128, 256)),
        (11, (15, 20), (121, 163)),
        (300, (8, 8), (64, 64)),
        (2, (1, 1), (9, 7)),
        (5, (12, 1), (48, 30)),
        (3, (9, 5), (4, 11)),
        (4, (6, 7), (6, 7)),
    ],
)
def test_it_is_the_argmax_of_the_upsampled_scores(
    classes: int, coarse: tuple[int, int], size: tuple[int, int], align_corners: bool
) -> None:
    torch.manual_seed(classes)
    scores = trained_scores(classes, *coarse)
    result = largest(scores, size, align_corners=align_corners)
    assert result is not None
    want = upsampled(scores, size, align_corners)
    lost = want.amax(0) - want.gather(0, result[None].long())[0]
    assert lost.max() < 1e-5  # the scores of classes that differ are equal but for rounding
    assert (result == want.argmax(0)).float().mean() > 0.999


def test_of_equal_scores_the_lowest_class_wins() -> None:
    scores = torch.zeros(20, 12, 12)
    scores[1] = 1.0
    scores[2:4, 4, 4] = 5.0
    result = largest(scores, (48, 48))
    assert result is not None
    assert set(result.unique().tolist()) == {1, 2}
    assert result.equal(upsampled(scores, (48, 48), False).argmax(0).to(result.dtype))


def test_a_cell_where_many_could_win_is_left_to_all_scores() -> None:
    torch.manual_seed(0)
    scores = trained_scores(40, 32, 32)
    scores[:, 10, 10:12] = torch.randn(40, 2)  # a few cells: done here, with all classes
    result = largest(scores, (128, 128))
    assert result is not None
    want = upsampled(scores, (128, 128), False)
    assert (want.amax(0) - want.gather(0, result[None].long())[0]).max() < 1e-5
    assert largest(torch.randn(40, 16, 16), (128, 128)) is None  # nearly all cells: faster otherwise


def test_extreme_scores() -> None:
    scores = torch.full((3, 4, 4), -2000.0)
    scores[1] = 2000.0
    result = largest(scores, (16, 16))
    assert result is not None
    assert result.eq(1).all()
