"""Which samples of a data set have a mask, and whether any has labels."""

from __future__ import annotations

from segdistill.core.classes import IGNORE_INDEX
from segdistill.data.base import SegmentationDataset


def labeled_indices(data: SegmentationDataset) -> list[int]:
    """The samples that have a mask, whatever it holds.

    Args:
        data: any split.
    """
    return [index for index in range(len(data)) if data.is_labeled(index)]


def has_labels(data: SegmentationDataset) -> bool:
    """Whether any pixel of `data` has a label; it is read up to the first image that has one.

    Args:
        data: any split.

    Returns:
        False if all of every label is void.

    Raises:
        DataError: an image or mask on the way can't be read.
    """
    labeled = filter(data.is_labeled, range(len(data)))
    return any(bool((data[index].label != IGNORE_INDEX).any()) for index in labeled)
