"""How common each class is, and the task-loss weights that make up for it."""

from __future__ import annotations

import torch
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX
from segdistill.data.base import SegmentationDataset
from segdistill.data.spread import chosen

_SAMPLES = 500


def class_weights(data: SegmentationDataset, exponent: float) -> Tensor | None:
    """Weights (K,) proportional to share^-exponent, scaled so that the mean over labelled pixels is 1.

    share: of the labelled pixels of up to 500 images spread evenly over the data set. A class never seen weighs as much
    as the rarest one that was.

    Args:
        data: with labels.
        exponent: 0 for no weights, 0.5 for the square root of the inverse frequency, 1 for the inverse frequency.

    Returns:
        Weights (K,), float32; None for exponent 0, or if nothing is labelled.
    """
    if exponent == 0:
        return None
    counts = torch.zeros(IGNORE_INDEX + 1, dtype=torch.float64)
    for index in chosen(len(data), _SAMPLES):
        counts += torch.bincount(data[index].label.reshape(-1), minlength=IGNORE_INDEX + 1)
    counts = counts[: len(data.classes)]
    share = counts / counts.sum().clamp_min(1)
    seen = share[share > 0]
    if len(seen) == 0:
        return None
    weights = torch.where(share > 0, share, seen.min()) ** -exponent
    return (weights / (weights * share).sum()).float()
