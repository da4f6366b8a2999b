"""Expected calibration error against torchmetrics, streaming."""

from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.classification import MulticlassCalibrationError

from segdistill.evaluation.calibration import Calibration


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("sharpness", [0.3, 3.0, 60.0])
def test_the_error_is_that_of_torchmetrics(bins: int, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(bins)
    probabilities = (sharpness * torch.randn(4, 6, 30, 40, generator=generator)).softmax(1)
    label = torch.randint(0, 6, (4, 30, 40), generator=generator)
    label[torch.rand(label.shape, generator=generator) < 0.2] = 255
    theirs = MulticlassCalibrationError(6, n_bins=bins, norm="l1", ignore_index=255)(probabilities, label)
    ours = Calibration(bins)
    confidence, predicted = probabilities.max(1)
    for i in range(4):  # in pieces, as images come
        ours.update(confidence[i], predicted[i].byte(), label[i].byte())
    assert ours.error() == pytest.approx(100 * float(theirs), abs=1e-4)


def test_a_confident_network_that_is_always_right_has_no_error_and_one_without_pixels_an_unknown_one() -> None:
    label = torch.zeros(1, 3, 3, dtype=torch.uint8)
    calibration = Calibration(15)
    calibration.update(torch.ones(1, 3, 3), label, label)
    assert calibration.error() == 0
    calibration.update(torch.ones(1, 3, 3), label + 1, label)
    assert calibration.error() == 50
    nothing = Calibration(15)
    nothing.update(torch.ones(1, 3, 3), label, torch.full_like(label, 255))
    assert math.isnan(nothing.error())
