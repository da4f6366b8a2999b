"""Sides of images that are multiples of a divisor."""

from __future__ import annotations

import torch
from torch import Tensor


def bordered(image: Tensor, divisor: int) -> Tensor:
    """Repeat the border at the bottom and on the right until both sides are multiples of a divisor.

    As `models.probing.fit`, for bytes, which torch pads on CUDA in its newest versions only.

    Args:
        image: (N,C,H,W) of any type.
        divisor: At least 1.

    Returns:
        (N,C,H',W'); the image itself where nothing is missing.
    """
    for axis in (-2, -1):
        side = image.shape[axis]
        if side % divisor:
            places = torch.arange(side + -side % divisor, device=image.device).clamp(max=side - 1)
            image = image.index_select(axis, places)
    return image
