"""mIoU, mAcc, aAcc and Dice from one confusion matrix over all images of a split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.errors import DataError

Absent = Literal["nan", "zero"]
_PIXELS = 1 << 22  # counted at once: bounds the memory of huge images


class ConfusionMatrix:
    """Counts of (label class, predicted class) over all non-void pixels; integers, so nothing is rounded.

    The sum of the counts of several processes is the count of all their images.

    Args:
        num_classes: K.
        device: where the counts (K,K), int64, are.
    """

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        self.num_classes = num_classes
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def update(self, predicted: Tensor, label: Tensor) -> None:
        """Add predictions and labels of one shape.

        Args:
            predicted: class indices, of any shape.
            label: class indices or void, of the same shape.

        Raises:
            DataError: a prediction is no class, or a label neither a class nor void.
        """
        for preds, target in zip(predicted.flatten().split(_PIXELS), label.flatten().split(_PIXELS), strict=True):
            self.counts += pair_counts(target, preds, self.num_classes)

    def scores(self, absent: Absent = "nan", ignore: Sequence[int] = ()) -> Scores:
        """The metrics of everything counted so far.

        Args:
            absent: what a class counts for in the means that is neither labelled nor predicted, see `Scores`.
            ignore: indices of classes that are no part of the means.

        Returns:
            Scores in percent.
        """
        return scores_of(self.counts, absent, ignore)


def pair_counts(label: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """How often each (label, predicted) occurs, void labels left out.

    Args:
        label: class indices or void, of any shape.
        predicted: class indices, of the same shape.
        num_classes: K.

    Returns:
        Counts (K,K), int64, labels in rows.

    Raises:
        DataError: a prediction is no class, or a label neither a class nor void.
    """
    pairs = label.int() * num_classes + predicted  # void pairs go beyond the others and are cut off
    counts = torch.bincount(pairs.flatten(), minlength=(IGNORE_INDEX + 1) * num_classes)
    cells, void = num_classes**2, IGNORE_INDEX * num_classes
    if counts[cells:void].any() or int(predicted.max()) >= num_classes:
        raise DataError(
            f"Labels or predictions hold a class beyond the {num_classes} known ones: labels go up to "
            f"{int(label[label != IGNORE_INDEX].max())}, predictions to {int(predicted.max())}. Give the network and "
            "the data set the same class list."
        )
    return counts[:cells].view(num_classes, num_classes)


def scores_of(matrix: Tensor, absent: Absent = "nan", ignore: Sequence[int] = ()) -> Scores:
    """The scores of a confusion matrix.

    Args:
        matrix: counts (K,K), labels in rows, predictions in columns.
        absent: see `Scores`.
        ignore: indices of classes that are no part of the means; aacc and the scores of classes are those of all.

    Returns:
        Scores in percent.
    """
    counts = matrix.double()
    hit, labelled, predicted = counts.diag(), counts.sum(1), counts.sum(0)
    if not labelled.any():  # nothing was measured, so that no mean is 0
        absent = "nan"
    iou = iou_of(hit, labelled, predicted)
    dice = 2 * hit / (labelled + predicted)
    accuracy = hit / labelled
    return Scores(
        miou=mean(iou, absent, ignore),
        macc=mean(accuracy, absent, ignore),
        aacc=100 * float(hit.sum() / labelled.sum()),
        mdice=mean(dice, absent, ignore),
        iou=percent(iou),
        accuracy=percent(accuracy),
        dice=percent(dice),
    )


def iou_of(hit: Tensor, labelled: Tensor, predicted: Tensor) -> Tensor:
    """Intersection over union of each class: hit / (labelled + predicted - hit).

    Args:
        hit: pixels (K,) that are labelled and predicted as the class.
        labelled: pixels (K,) that are labelled as it.
        predicted: pixels (K,) that are predicted as it.

    Returns:
        Shares (K,) in [0,1]; NaN for a class that is neither labelled nor predicted.
    """
    return hit / (labelled + predicted - hit)


def mean(values: Tensor, absent: Absent = "nan", ignore: Sequence[int] = ()) -> float:
    """The mean over classes in percent.

    Args:
        values: shares (K,) in [0,1], NaN for classes that don't occur.
        absent: "nan" leaves those out, "zero" counts them as 0.
        ignore: indices of classes that are left out in any case.

    Returns:
        Percent; NaN if no class occurs.
    """
    if ignore:
        kept = torch.ones_like(values, dtype=torch.bool)
        kept[list(ignore)] = False
        values = values[kept]
    return 100 * float(values.nan_to_num(0).mean() if absent == "zero" else values.nanmean())


def percent(values: Tensor) -> tuple[float, ...]:
    """Shares in percent.

    Args:
        values: (K,).

    Returns:
        K numbers.
    """
    return tuple(100 * value for value in values.tolist())


def by_class(values: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Scores for a reader, with those of the classes by class name.

    Args:
        values: as `as_dict` gives them, those of class boundaries under "boundary".
        classes: the K names.

    Returns:
        The same, {class: value} in the place of each list.
    """
    named = {
        key: dict(zip(classes, value, strict=True)) if isinstance(value, list) else value
        for key, value in values.items()
    }
    return {key: by_class(value, classes) if key == "boundary" else value for key, value in named.items()}


@dataclass(frozen=True)
class Scores:
    """Scores over all non-void pixels of a split, in percent; of each class hit, labelled and predicted pixels count.

    A class without pixels to divide by is NaN and no part of a mean; with absent="zero" it counts as 0 in the means, as
    CIRKD does.

    Attributes:
        miou: the mean of `iou`.
        macc: the mean of `accuracy`.
        aacc: the share of pixels that are right.
        mdice: the mean of `dice`.
        iou: of each class, hit / (labelled + predicted - hit).
        accuracy: of each class, hit / labelled.
        dice: of each class, 2 hit / (labelled + predicted).
    """

    miou: float
    macc: float
    aacc: float
    mdice: float
    iou: tuple[float, ...]
    accuracy: tuple[float, ...]
    dice: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes null."""
        return {key: plain(value) for key, value in asdict(self).items()}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Scores:
        """The scores that `as_dict` gave.

        Args:
            values: as of `as_dict`; further keys are ignored.

        Raises:
            KeyError: one of them is missing.
        """

        def number(value: float | None) -> float:
            return math.nan if value is None else float(value)

        means = [number(values[key]) for key in ("miou", "macc", "aacc", "mdice")]
        return cls(*means, *(tuple(map(number, values[key])) for key in ("iou", "accuracy", "dice")))  # type: ignore[arg-type]


def plain(value: Any) -> Any:
    """Values as JSON has them, all the way down.

    Args:
        value: any; numbers are rounded to 4 digits, tuples become lists, NaN becomes None.

    Returns:
        The plain value.
    """
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return None if value != value else round(value, 4)
    return value
