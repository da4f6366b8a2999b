"""Labels as pixels: class colors and overlays."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX, Classes
from segdistill.core.pixels import RGB

VOID_COLOR = (255, 255, 255)


Pixels = NDArray[np.uint8]


def colorise(label: Tensor, classes: Classes) -> Pixels:
    """A label map in its classes' colors; void is white.

    Args:
        label: class indices or void (H,W).
        classes: whose colors are taken.

    Returns:
        RGB uint8 (H,W,3).
    """
    return palette(classes)[label.cpu().numpy().astype(np.uint8)]


def as_picture(image: Tensor) -> Pixels:
    """An image as people see it: its first three channels as red, green and blue, or its first one as grey.

    Args:
        image: (C,H,W), uint8, or floats in [0,1].

    Returns:
        RGB uint8 (H,W,3).
    """
    shown = image[:RGB] if len(image) >= RGB else image[:1].expand(RGB, -1, -1)
    if shown.is_floating_point():
        shown = (shown * 255).round().to(torch.uint8)
    return np.ascontiguousarray(shown.permute(1, 2, 0).cpu().numpy())


def overlay(image: Tensor, label: Tensor, classes: Classes, *, alpha: float = 0.5) -> Pixels:
    """An image with the class colors over it.

    Args:
        image: RGB uint8 (3,H,W), or as `as_picture` takes it.
        label: class indices or void (H,W).
        classes: whose colors are taken.
        alpha: from 0 (image only) to 1 (colors only).

    Returns:
        RGB uint8 (H,W,3).
    """
    pixels = as_picture(image)
    return np.asarray(cv2.addWeighted(pixels, 1 - alpha, colorise(label, classes), alpha, 0), np.uint8)


def palette(classes: Classes) -> Pixels:
    """The class colors by label value, void white.

    Args:
        classes: K of them, at most 255.

    Returns:
        RGB uint8 (256,3), black from K to 254.
    """
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(classes)] = classes.colors
    colors[IGNORE_INDEX] = VOID_COLOR
    return colors
