"""Scores against a plain count, and inference at any size."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles import protocol
from references import nanmean, plain_scores
from torch import nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex

from segdistill.core.errors import DataError
from segdistill.data.datasets.streets import Streets
from segdistill.evaluation.cost.cost import gflops, parameters
from segdistill.evaluation.metrics import ConfusionMatrix
from segdistill.evaluation.scoring import count
from segdistill.models.open import create_model


def maps(name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """A prediction and a label (N,H,W) with the number of classes."""
    rng = np.random.default_rng(3)
    if name.startswith("random"):
        classes = int(name.split()[1])
        label = rng.integers(0, classes, (3, 40, 50))
        predicted = np.where(rng.random(label.shape) < 0.6, label, rng.integers(0, classes, label.shape))
        label[rng.random(label.shape) < 0.1] = 255
        label[label == 1] = 0  # class 1 is predicted but never labelled
        return predicted, label, classes
    ones = np.ones((2, 5, 6), dtype=np.int64)
    return {
        "all void": (ones, 255 * ones, 3),
        "one pixel": (ones[:1, :1, :1], ones[:1, :1, :1], 3),
        "one wrong pixel": (0 * ones[:1, :1, :1], ones[:1, :1, :1], 3),
        "absent classes": (ones, ones, 200),
        "never labelled": (2 * ones, ones, 3),
        "never predicted": (0 * ones, np.arange(60).reshape(2, 5, 6) % 3, 3),
        "the highest class": (254 * ones, np.where(np.arange(60).reshape(2, 5, 6) % 4, 254, 255), 255),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "random 2", "random 11", "random 150", "random 255", "all void", "one pixel", "one wrong pixel",
        "absent classes", "never labelled", "never predicted", "the highest class",
    ],
)  # fmt: skip
def test_scores_equal_a_plain_count_and_torchmetrics(name: str) -> None:
    predicted, label, classes = maps(name)
    matrix = ConfusionMatrix(classes)
    for guess, truth in zip(predicted, label, strict=True):  # in pieces, as images come
        matrix.update(torch.from_numpy(guess), torch.from_numpy(truth))
    scores = matrix.scores()
    expected = plain_scores(predicted, label, classes)
    for key, mean in (("iou", scores.miou), ("accuracy", scores.macc), ("dice", scores.mdice)):
        np.testing.assert_allclose(getattr(scores, key), expected[key], rtol=1e-12)
        assert mean == pytest.approx(nanmean(expected[key]), nan_ok=True)
    if name == "all void":
        assert math.isnan(scores.aacc)
        return
    valid = label != 255
    assert scores.aacc == pytest.approx(100 * (predicted == label)[valid].mean())
    pair = torch.from_numpy(predicted), torch.from_numpy(label)
    options = {"num_classes": classes, "ignore_index": 255}
    assert scores.miou == pytest.approx(100 * float(MulticlassJaccardIndex(**options)(*pair)), rel=1e-5)
    assert scores.mdice == pytest.approx(100 * float(MulticlassF1Score(**options)(*pair)), rel=1e-5)
    assert scores.aacc == pytest.approx(100 * float(MulticlassAccuracy(**options, average="micro")(*pair)), rel=1e-5)
    recall = 100 * MulticlassAccuracy(**options, average="none")(*pair).double()
    occurs = ~np.isnan(expected["accuracy"])  # theirs takes 0 for what is never labelled
    np.testing.assert_allclose(np.array(scores.accuracy)[occurs], recall[torch.from_numpy(occurs)], rtol=1e-5)


def test_scores_are_those_of_openmmlab() -> None:
    numbers, matrix = protocol(), ConfusionMatrix(7)
    for i in range(3):
        matrix.update(torch.from_numpy(numbers[f"metrics/pred{i}"]), torch.from_numpy(numbers[f"metrics/gt{i}"]))
    scores = matrix.scores()
    assert scores.aacc == pytest.approx(100 * float(numbers["metrics/aAcc"]))
    np.testing.assert_allclose(np.array(scores.iou) / 100, numbers["metrics/IoU"], rtol=1e-9)
    np.testing.assert_allclose(np.array(scores.accuracy) / 100, numbers["metrics/Acc"], rtol=1e-9)


def test_absent_classes_can_count_as_zero() -> None:
    matrix = ConfusionMatrix(5)
    label = torch.arange(4).repeat(10)
    matrix.update(label, label)
    assert matrix.scores().miou == 100
    cirkd = matrix.scores("zero")
    assert (cirkd.miou, cirkd.macc, cirkd.mdice) == pytest.approx((80, 80, 80))
    assert math.isnan(cirkd.iou[4])


@pytest.mark.parametrize(("predicted", "label"), [(1, 3), (3, 1), (7, 0)])
def test_a_class_that_is_not_known_is_refused(predicted: int, label: int) -> None:
    with pytest.raises(DataError, match="3 known"):
        ConfusionMatrix(3).update(torch.tensor([predicted]), torch.tensor([label]))


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
        from segdistill.core.outputs import SegOutput

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
            from segdistill.core.outputs import SegOutput

            return SegOutput(logits=convolution(image), embedding=image, features=())

    assert gflops(One(), torch.zeros(1, 3, 10, 20, dtype=torch.uint8)) == pytest.approx(3 * 8 * 200 / 1e9)


def test_ignored_classes_leave_the_means_and_nothing_else() -> None:
    label, predicted = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 1, 1, 2, 2])
    matrix = ConfusionMatrix(4)
    matrix.update(predicted, label)
    full, kept = matrix.scores(), matrix.scores(ignore=(0,))
    # sklearn's jaccard_score(labels=[1, 2], average="macro") of the same pixels
    assert kept.miou == pytest.approx(100 * (1 / 3 + 1 / 2) / 2)
    assert kept.macc == pytest.approx(100 * (1 / 2 + 1) / 2)
    assert kept.mdice == pytest.approx(100 * (1 / 2 + 2 / 3) / 2)
    assert (kept.aacc, kept.iou[:3], kept.dice[:3]) == (full.aacc, full.iou[:3], full.dice[:3])
    assert matrix.scores("zero", (0,)).miou == pytest.approx(100 * (1 / 3 + 1 / 2) / 3)
