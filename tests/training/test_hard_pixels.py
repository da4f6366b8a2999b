"""Hard pixels are those of the published rule, image by image, and a run can train with them alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.training.hard_pixels import hard_only
from segdistill.training.task_loss import task_loss

VOID = 255


def published(logits: Tensor, label: Tensor, threshold: float, kept: int) -> Tensor:
    """The loss of one image in the code of DDRNet and PIDNet: the mean over pixels below the higher of two limits."""
    scores = F.interpolate(logits, label.shape[-2:], mode="bilinear")
    losses = F.cross_entropy(scores, label, ignore_index=VOID, reduction="none").flatten()
    valid = (label != VOID).flatten()
    target = label.masked_fill(label == VOID, 0)
    probability, order = scores.softmax(1).gather(1, target[:, None]).flatten()[valid].sort()
    limit = max(float(probability[min(kept, len(probability) - 1)]), threshold)
    return losses[valid][order][probability < limit].mean()


def scene(confidence: float) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    logits = confidence * torch.randn(2, 5, 6, 8, generator=random, dtype=torch.float64)
    label = torch.randint(0, 5, (2, 24, 32), generator=random)
    label[torch.rand(label.shape, generator=random) < 0.2] = VOID
    return logits, label


@pytest.mark.parametrize("confidence", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("threshold", [0.01, 0.7, 0.9])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_each_image_has_the_published_loss(confidence: float, threshold: float, share: float) -> None:
    logits, label = scene(confidence)
    for scores, classes in zip(logits, label, strict=True):
        labelled = int((classes != VOID).sum())
        want = published(scores[None], classes[None], threshold, int(share * labelled))
        got = task_loss(scores[None], hard_only(scores[None], classes[None], threshold, share))
        torch.testing.assert_close(got, want.nan_to_num(0.0))  # the mean of no pixels


def test_an_image_keeps_the_same_pixels_in_any_batch() -> None:
    logits, label = scene(1.0)
    alone = [hard_only(logits[i : i + 1], label[i : i + 1], 0.5, 0.1) for i in range(2)]
    assert torch.equal(hard_only(logits, label, 0.5, 0.1), torch.cat(alone))


def test_void_stays_void_and_an_image_of_nothing_else_too() -> None:
    logits, label = scene(1.0)
    label[1] = VOID
    hard = hard_only(logits, label, 1.0, 0.0)
    assert torch.equal(hard, label)


def test_a_run_trains_with_hard_pixels_alone(tiny: tuple[str, ...], tmp_path: Path) -> None:
    weights = {}
    for name, words in (("all", ()), ("hard", ("task_loss.ohem=0.1",)), ("none_left_out", ("task_loss.ohem=1",))):
        segdistill.train(*tiny, *words, out=tmp_path / name, quiet=True)
        weights[name] = torch.cat([each.flatten() for each in segdistill.load_model(tmp_path / name).parameters()])
    assert torch.equal(weights["none_left_out"], weights["all"])
    assert not torch.equal(weights["hard"], weights["all"])


def test_a_share_of_nothing_is_refused(tiny: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match="ohem_share says what ohem keeps"):
        segdistill.train(*tiny, "task_loss.ohem_share=0.5", quiet=True)
