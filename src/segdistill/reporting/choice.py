"""Validation images by name or number, and what their pictures are called."""

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
        DataError: There is no such image, or several are called so.
    """
    if not images:
        count = min(default, len(data))
        return [(2 * position + 1) * len(data) // (2 * count) for position in range(count)]
    names: dict[str, list[int]] = {}
    for index in range(len(data)):
        names.setdefault(data.name(index), []).append(index)
    chosen = []
    for image in images:
        several = names.get(str(image), [])
        if len(several) > 1:
            raise DataError(
                f"{len(several)} validation images are called '{image}'. Name one by its number: {several}."
            )
        number = several[0] if several else int(image) if str(image).isdigit() else -1
        if not 0 <= number < len(data):
            raise DataError(
                f"No validation image '{image}'.{nearest(str(image), names)} Or a number from 0 to {len(data) - 1}."
            )
        chosen.append(number)
    return chosen


def picture_name(index: int, data: SegmentationDataset) -> str:
    """What a picture of an image is called: as the image, and its number behind it where several are called so.

    Args:
        index: Of the image.
        data: The data set.

    Returns:
        A name without suffix, which no other image has.
    """
    name = data.name(index)
    alike = [other for other in range(len(data)) if data.name(other) == name]
    return name if len(alike) == 1 else f"{name}_{index}"
