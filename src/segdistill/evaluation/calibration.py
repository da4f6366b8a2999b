"""How far a network's confidence is from how often it is right."""

from __future__ import annotations

import torch
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX

_SCALE = 1 << 24  # confidences are added as integers of this many steps: the sum is exact in any order
_PIXELS = 1 << 22


class Calibration:
    """The expected calibration error over non-void pixels: sum over bins b of n_b / n * |accuracy_b - confidence_b|.

    Bins are `bins` equal parts of [0,1]; accuracy_b and confidence_b are means over the n_b pixels whose confidence,
    the probability of the predicted class, falls into bin b (Guo et al., arXiv 1706.04599).

    Args:
        bins: their number.
        device: where the counts are.
    """

    def __init__(self, bins: int, device: torch.device | str = "cpu") -> None:
        self.bins = bins
        self.counts = torch.zeros(3, bins, dtype=torch.int64, device=device)
        """Of each bin: wrong pixels, right pixels, sum of confidences in steps of 2^-24."""

    def update(self, confidence: Tensor, predicted: Tensor, label: Tensor) -> None:
        """Add pixels; all three of one shape.

        Args:
            confidence: probability of the predicted class, in [0,1].
            predicted: class indices.
            label: class indices or void.
        """
        for certainty, preds, target in zip(
            *(values.flatten().split(_PIXELS) for values in (confidence, predicted, label)), strict=True
        ):
            part = (certainty * self.bins).int().clamp_(0, self.bins - 1)
            part = torch.where(target == IGNORE_INDEX, self.bins, part)
            both = torch.bincount(2 * part + (preds == target), minlength=2 * self.bins + 2)
            steps = torch.bincount(part, weights=(certainty.double() * _SCALE).round_(), minlength=self.bins + 1)
            self.counts[:2] += both[: 2 * self.bins].view(-1, 2).T
            self.counts[2] += steps[: self.bins].long()

    def error(self) -> float:
        """The expected calibration error in percent; NaN without pixels."""
        wrong, right, steps = self.counts.double()
        return 100 * float((right - steps / _SCALE).abs().sum() / (wrong + right).sum())
