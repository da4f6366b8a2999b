"""Validation images by name or number."""

from __future__ import annotations

from collections.abc import Sequence

from segdistill.core.errors import DataError, nearest
from segdistill.data.base import SegmentationDataset


def positions(images: Sequence[str | int], data: SegmentationDataset, *, default: int = 4) -> list[int]:
    """Positions of images in a data set.

    Args:
        images: Their names or numbers.
        data: The data set.
        default: How many, spread evenly, if none is named.

    Returns:
        The positions, in the order of `images`.

    Raises:
        DataError: There is no such image.
    """
    if not images:
        count = min(default, len(data))
        return [(2 * position + 1) * len(data) // (2 * count) for position in range(count)]
    names = {data.name(index): index for index in range(len(data))}
    chosen = []
    for image in images:
        number = names.get(str(image), int(image) if str(image).isdigit() else -1)
        if not 0 <= number < len(data):
            raise DataError(
                f"No validation image '{image}'.{nearest(str(image), names)} Or a number from 0 to {len(data) - 1}."
            )
        chosen.append(number)
    return chosen
