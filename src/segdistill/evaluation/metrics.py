"""mIoU, mAcc and aAcc from one confusion matrix over all images of a split."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from segdistill.data.base import IGNORE_INDEX


class ConfusionMatrix:
    """Counts of (label class, predicted class) over all non-void pixels; integers, so nothing is rounded."""

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        self.num_classes = num_classes
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def update(self, predicted: Tensor, label: Tensor) -> None:
        """Add predictions and labels of one shape; predictions must be classes, labels classes or void."""
        label = label.long()
        valid = label != IGNORE_INDEX
        pairs = label[valid] * self.num_classes + predicted[valid]
        self.counts += torch.bincount(pairs, minlength=self.num_classes**2).view_as(self.counts)

    def scores(self) -> Scores:
        """The metrics of everything counted so far."""
        counts = self.counts.double()
        hit, labelled, predicted = counts.diag(), counts.sum(1), counts.sum(0)
        iou = hit / (labelled + predicted - hit)  # 0 / 0 = NaN: a class that is neither labelled nor predicted
        accuracy = hit / labelled
        return Scores(
            miou=100 * float(iou.nanmean()),
            macc=100 * float(accuracy.nanmean()),
            aacc=100 * float(hit.sum() / labelled.sum()),
            iou=tuple(100 * value for value in iou.tolist()),
        )


@dataclass(frozen=True)
class Scores:
    """In percent. miou: mean over classes of intersection / union. macc: mean of per-class accuracy. aacc: share of
    pixels that are right. iou: per class. A class that never occurs is NaN and not part of a mean."""

    miou: float
    macc: float
    aacc: float
    iou: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes null."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return None if value != value else round(value, 4)
