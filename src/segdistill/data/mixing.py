"""Which pixels of a crop another crop is pasted over: CutMix and ClassMix.

Sources: French et al., "Semi-supervised semantic segmentation needs strong, varied perturbations", BMVC 2020 (CutMix
for segmentation); Olsson et al., "ClassMix", WACV 2021.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from segdistill.core.classes import UNLABELED

_LEAST_SHARE, _MOST_SHARE = 0.25, 0.5
"""Of the crop's area that a rectangle of CutMix covers."""


def cut_mix(size: tuple[int, int], generator: Generator) -> Tensor:
    """A rectangle of a quarter to half of the area, anywhere in the crop.

    Args:
        size: (H,W) of the crop.
        generator: what is drawn depends on it alone.

    Returns:
        bool (H,W), true inside.
    """
    area, stretch, down, right = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    share = _LEAST_SHARE + (_MOST_SHARE - _LEAST_SHARE) * area
    tall = share ** (1 - stretch)  # of the crop's height, from all of `share` to 1
    height, width = (max(1, round(side * part)) for side, part in zip(size, (tall, share / tall), strict=True))
    top, left = round(down * (size[0] - height)), round(right * (size[1] - width))
    inside = torch.zeros(size, dtype=torch.bool)
    inside[top : top + height, left : left + width] = True
    return inside


def class_mix(label: Tensor, generator: Generator) -> Tensor:
    """The pixels of half of the classes of the crop that is pasted, rounded down; void is never pasted.

    Args:
        label: of that crop, uint8 (H,W).
        generator: what is drawn depends on it alone.

    Returns:
        bool (H,W); a rectangle of `cut_mix` where the crop has fewer than two classes.
    """
    present = torch.unique(label)
    present = present[present < UNLABELED]
    if len(present) < 2:
        return cut_mix((label.shape[0], label.shape[1]), generator)
    chosen = present[torch.randperm(len(present), generator=generator)[: len(present) // 2]]
    return torch.isin(label, chosen)


def paste(over: Tensor, under: Tensor, area: Tensor) -> Tensor:
    """One crop, or map of it, over another.

    Args:
        over: (...,h,w), taken inside the area.
        under: (...,h,w), taken elsewhere.
        area: bool (H,W); of maps with fewer cells, each goes by the pixel at its centre.

    Returns:
        (...,h,w).
    """
    if area.shape != over.shape[-2:]:
        area = F.interpolate(area[None, None].float(), over.shape[-2:], mode="nearest-exact")[0, 0].bool()
    return torch.where(area, over, under)
