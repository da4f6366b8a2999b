"""How common each class is, and the task-loss weights that make up for it."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.errors import DataError
from segdistill.data.base import SegmentationDataset
from segdistill.data.spread import chosen

_SAMPLES = 500


def is_all_void(data: SegmentationDataset) -> bool:
    """Whether up to 500 masks, spread evenly over the data set, hold no pixel of a class.

    Args:
        data: with labels. Reading ends with the first mask that holds a class; broken files are passed over.

    Returns:
        False if no mask was read.
    """
    read = 0
    for index in chosen(len(data), _SAMPLES):
        with contextlib.suppress(DataError):
            if (data[index].label < len(data.classes)).any():
                return False
            read += 1
    return read > 0


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
