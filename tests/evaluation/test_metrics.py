"""Scores against a plain count, and inference at any size."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from segdistill.data.streets import Streets
from segdistill.evaluation.cost import gflops, parameters
from segdistill.evaluation.metrics import ConfusionMatrix
from segdistill.evaluation.scoring import count
from segdistill.models.zoo import create_model


def plain_scores(predicted: np.ndarray, label: np.ndarray, classes: int) -> tuple[list[float], list[float], float]:
    valid = label != 255
    predicted, label = predicted[valid], label[valid]
    iou, accuracy = [], []
    for c in range(classes):
        hit = int(((predicted == c) & (label == c)).sum())
        union = int(((predicted == c) | (label == c)).sum())
        iou.append(hit / union if union else math.nan)
        accuracy.append(hit / int((label == c).sum()) if (label == c).any() else math.nan)
    return iou, accuracy, float((predicted == label).mean())


@pytest.mark.parametrize("classes", [2, 11, 150])
def test_scores_equal_a_plain_count(classes: int) -> None:
    rng = np.random.default_rng(classes)
    label = rng.integers(0, classes, (3, 40, 50))
    predicted = np.where(rng.random(label.shape) < 0.6, label, rng.integers(0, classes, label.shape))
    label[rng.random(label.shape) < 0.1] = 255
    label[label == 1] = 0  # class 1 is predicted but never labelled
    matrix = ConfusionMatrix(classes)
    for one in range(3):  # in pieces, as images come
        matrix.update(torch.from_numpy(predicted[one]), torch.from_numpy(label[one]))
    scores = matrix.scores()
    iou, accuracy, aacc = plain_scores(predicted, label, classes)
    np.testing.assert_allclose(np.array(scores.iou) / 100, iou, rtol=1e-12)
    assert scores.miou == pytest.approx(100 * np.nanmean(iou))
    assert scores.macc == pytest.approx(100 * np.nanmean(accuracy))
    assert scores.aacc == pytest.approx(100 * aacc)


def test_a_class_that_never_occurs_is_not_part_of_the_mean() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
    scores = matrix.scores()
    assert math.isnan(scores.iou[2])
    assert scores.miou == pytest.approx(50)
    assert scores.as_dict()["iou"] == [50, 50, None]


class Oracle(nn.Module):
    """Knows the street label from the image: it returns the scores that the test gave it, batch by batch."""

    def __init__(self, data: Streets) -> None:
        super().__init__()
        self.data = data
        self.anchor = nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor):
        from segdistill.outputs import SegOutput

        labels = []
        for one in image:
            match = next(s for s in self.data if torch.equal((s.image.float() / 255), one))
            label = torch.where(match.label == 255, 0, match.label).long()
            labels.append(nn.functional.one_hot(label, 8).permute(2, 0, 1).float())
        logits = torch.stack(labels)
        return SegOutput(logits=logits, embedding=logits, features=(logits,))


def test_every_image_is_counted_once_whatever_the_batch_and_the_workers() -> None:
    data = Streets(split="val", size=(32, 48), count=5)
    pixels = sum(int((sample.label != 255).sum()) for sample in data)
    for batch_size, workers in ((1, 0), (2, 0), (4, 1)):
        matrix = count(Oracle(data), data, batch_size=batch_size, workers=workers).confusion
        assert int(matrix.counts.sum()) == pixels
        assert matrix.scores().miou == 100


def test_cost_counts_what_inference_uses() -> None:
    whole = create_model("mobilenetv2_035_fcn", 8, auxiliary_channels=16)
    bare = create_model("mobilenetv2_035_fcn", 8)
    assert parameters(whole) == parameters(bare) == sum(p.numel() for p in bare.parameters())
    small, large = (gflops(bare, torch.zeros(1, 3, side, side, dtype=torch.uint8)) for side in (64, 128))
    assert large == pytest.approx(4 * small, rel=1e-6)
    convolution = nn.Conv2d(3, 8, 1, bias=False)

    class One(nn.Module):
        def forward(self, image: torch.Tensor):
            from segdistill.outputs import SegOutput

            return SegOutput(logits=convolution(image), embedding=image, features=())

    assert gflops(One(), torch.zeros(1, 3, 10, 20, dtype=torch.uint8)) == pytest.approx(3 * 8 * 200 / 1e9)
