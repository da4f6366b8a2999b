"""Whether a mask lies on its image: sizes, and photos that are turned by EXIF."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor

from segdistill.core.errors import DataError
from segdistill.data.formats import Header
from segdistill.data.values import Raw

Exif = Literal["auto", "apply", "ignore"]
"""What the EXIF tag of a turned photo means: see `read_pair`."""


def alignment_fault(
    image: Header, mask: Header, shape: tuple[int, ...], image_path: Path, mask_path: Path, exif: Exif
) -> str:
    """Why it is not certain that a mask lies on its turned image.

    Args:
        image: header of the image.
        mask: header of the mask.
        shape: (H,W) of the mask as read.
        image_path: of the image, for the message.
        mask_path: of the mask, for the message.
        exif: as of `read_pair`.

    Returns:
        A sentence with the remedy; "" if it is certain, or a plain difference of sizes.
    """
    stored, upright = image.size, image.size[::-1] if image.orientation >= 5 else image.size
    if image.orientation == mask.orientation or exif == "ignore":
        return ""
    if image.orientation != 1 and shape == stored != upright:
        return (
            f"Mask {mask_path} has the size of {image_path} as stored, {stored[1]}x{stored[0]} (width x height), but "
            f"EXIF orientation {image.orientation} turns that image to {upright[1]}x{upright[0]}: the mask was drawn "
            "on the unturned picture. Say so with data.exif=ignore, or turn the masks."
        )
    if exif == "apply" or (image.orientation >= 5 and shape == upright != stored):
        return ""
    turned = image_path if image.orientation != 1 else mask_path
    other = mask_path if image.orientation != 1 else image_path
    orientation = max(image.orientation, mask.orientation)
    return (
        f"{turned} is turned by EXIF orientation {orientation} and {other} is not, so it is not certain whether the "
        f"mask {mask_path} was drawn on the picture as shown or as stored. Say which: data.exif=apply (as shown) or "
        "data.exif=ignore (as stored)."
    )


def check_pair(
    image: Tensor, header: Header, raw: Raw, mask_header: Header, image_path: Path, mask_path: Path, exif: Exif
) -> None:
    """Refuse a mask that does not lie on its image, or not certainly.

    Args:
        image: as of `load_image`.
        header: of the image.
        raw: as of `load_mask`.
        mask_header: of the mask.
        image_path: of the image, for the message.
        mask_path: of the mask, for the message.
        exif: as of `read_pair`.

    Raises:
        DataError: as of `read_pair`.
    """
    fault = alignment_fault(header, mask_header, raw.shape, image_path, mask_path, exif)
    if fault:
        raise DataError(fault)
    check_size(raw, (image.shape[1], image.shape[2]), mask_path)


def check_size(raw: Raw, size: tuple[int, int], path: Path) -> None:
    """Refuse a mask of another size than its image.

    Args:
        raw: the mask (H,W).
        size: (H,W) of the image.
        path: of the mask, for the message.

    Raises:
        DataError: the sizes differ.
    """
    if raw.shape != size:
        raise DataError(
            f"Mask {path} is {raw.shape[1]}x{raw.shape[0]} pixels (width x height) but its image is "
            f"{size[1]}x{size[0]}. Export the mask at the image's own size."
        )
