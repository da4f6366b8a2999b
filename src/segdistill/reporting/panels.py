"""Maps that say where networks are right, and where they differ, as RGB pictures."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX
from segdistill.data.colors import Pixels

RIGHT, WRONG, VOID = (225, 225, 225), (200, 30, 60), (255, 255, 255)
GAINED, LOST, BOTH_WRONG = (20, 140, 90), (200, 30, 60), (150, 150, 150)
EDGE, BODY = (230, 120, 20), (60, 90, 160)


def error_map(label: Tensor, predicted: Tensor) -> Pixels:
    """Where `predicted` (H,W) differs from the label: wrong red, right grey, void white."""
    return _painted(label, [(predicted == label, RIGHT), (predicted != label, WRONG)])


def change_map(label: Tensor, before: Tensor, after: Tensor) -> Pixels:
    """What `after` (H,W) has right that `before` had not (green), and the reverse (red); wrong in both is grey."""
    was, now = before == label, after == label
    return _painted(label, [(was & now, RIGHT), (~was & ~now, BOTH_WRONG), (now & ~was, GAINED), (was & ~now, LOST)])


def region_map(label: Tensor, edge: Tensor) -> Pixels:
    """The edge region (bool (H,W)) and the body, which is the rest."""
    return _painted(label, [(~edge, BODY), (edge, EDGE)])


def disagreement(scores: Tensor, other: Tensor) -> Tensor:
    """(H,W) in [0,1]: half the L1 distance of the class probabilities of two score maps (K,H,W)."""
    return 0.5 * (scores.softmax(0) - other.softmax(0)).abs().sum(0)


def heat(values: Tensor, image: Tensor | None = None) -> Pixels:
    """Values (H,W) in [0,1] as colors, dark for 0; over the image uint8 (3,H,W) in grey, if it is given."""
    colors: Pixels = (255 * colormaps["inferno"](values.clamp(0, 1).cpu().numpy())[..., :3]).astype(np.uint8)
    if image is None:
        return colors
    grey: NDArray[np.float64] = image.float().mean(0).cpu().numpy()[..., None]
    mixed: Pixels = (0.4 * grey + 0.6 * colors).round().astype(np.uint8)
    return mixed


def _painted(label: Tensor, regions: list[tuple[Tensor, tuple[int, int, int]]]) -> Pixels:
    canvas = torch.tensor(VOID, dtype=torch.uint8).repeat(*label.shape, 1)
    nonvoid = label != IGNORE_INDEX
    for where, color in regions:
        canvas[(where & nonvoid).cpu()] = torch.tensor(color, dtype=torch.uint8)
    return canvas.numpy()
