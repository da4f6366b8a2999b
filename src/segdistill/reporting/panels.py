"""Maps that say where networks are right, and where they differ, as RGB pictures."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.colors import Pixels, as_picture

RIGHT, WRONG, VOID = (225, 225, 225), (200, 30, 60), (255, 255, 255)
GAINED, LOST, BOTH_WRONG = (20, 140, 90), (200, 30, 60), (150, 150, 150)
EDGE, BODY = (230, 120, 20), (60, 90, 160)


def error_map(label: Tensor, predicted: Tensor) -> Pixels:
    """Where a prediction differs from the label: wrong red, right grey, void white.

    Args:
        label: Class indices or void (H,W).
        predicted: Class indices (H,W).

    Returns:
        RGB uint8 (H,W,3).
    """
    return _painted(label, [(predicted == label, RIGHT), (predicted != label, WRONG)])


def change_map(label: Tensor, before: Tensor, after: Tensor) -> Pixels:
    """What a second prediction has right that the first had not (green), and the reverse (red).

    Args:
        label: Class indices or void (H,W).
        before: Class indices (H,W).
        after: Class indices (H,W).

    Returns:
        RGB uint8 (H,W,3); light grey where both are right, dark grey where both are wrong, white on void.
    """
    was, now = before == label, after == label
    return _painted(label, [(was & now, RIGHT), (~was & ~now, BOTH_WRONG), (now & ~was, GAINED), (was & ~now, LOST)])


def region_map(label: Tensor, edge: Tensor) -> Pixels:
    """The edge region (orange) and the body (blue).

    Args:
        label: Class indices or void (H,W).
        edge: Whether a pixel is of the edge region, bool (H,W).

    Returns:
        RGB uint8 (H,W,3), white on void.
    """
    return _painted(label, [(~edge, BODY), (edge, EDGE)])


def disagreement(scores: Tensor, other: Tensor) -> Tensor:
    """How far two networks' class probabilities p, q are apart at each pixel: sum over classes of |p - q| / 2.

    Args:
        scores: Logits (K,H,W).
        other: Logits (K,H,W).

    Returns:
        (H,W) in [0,1].
    """
    return 0.5 * (scores.softmax(0) - other.softmax(0)).abs().sum(0)


def heat(values: Tensor, image: Tensor | None = None) -> Pixels:
    """Values as colors, dark for 0 and light for 1.

    Args:
        values: (H,W) in [0,1].
        image: as `as_picture` takes it, over which the colors are laid, in grey; None for the colors alone.

    Returns:
        RGB uint8 (H,W,3).
    """
    colors: Pixels = (255 * colormaps["inferno"](values.clamp(0, 1).cpu().numpy())[..., :3]).astype(np.uint8)
    if image is None:
        return colors
    grey: NDArray[np.float64] = as_picture(image).mean(2, keepdims=True)
    mixed: Pixels = (0.4 * grey + 0.6 * colors).round().astype(np.uint8)
    return mixed


def _painted(label: Tensor, regions: list[tuple[Tensor, tuple[int, int, int]]]) -> Pixels:
    canvas = torch.tensor(VOID, dtype=torch.uint8).repeat(*label.shape, 1)
    nonvoid = label != IGNORE_INDEX
    for where, color in regions:
        canvas[(where & nonvoid).cpu()] = torch.tensor(color, dtype=torch.uint8)
    return canvas.numpy()
