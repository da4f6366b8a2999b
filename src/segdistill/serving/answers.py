"""What a network says of an image, as people see it: the picture in class colors, the names, the milliseconds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from html import escape

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.classes import Classes
from segdistill.core.colors import Pixels, overlay
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.network import SegmentationNetwork

LONGEST = 1024
"""Pixels of the longer side of an image that is shown; larger ones are reduced first."""


@dataclass(frozen=True)
class Answer:
    """Of one network for one image.

    Attributes:
        picture: The image with the class colors over it, RGB uint8 (H,W,3).
        label: Class indices (H,W).
        milliseconds: From pixels to classes.
    """

    picture: Pixels
    label: Tensor
    milliseconds: float


def shown_image(image: Tensor) -> Tensor:
    """RGB uint8 (3,H,W), its longer side reduced to `LONGEST` if it has more pixels."""
    factor = LONGEST / max(image.shape[1:])
    if factor >= 1:
        return image
    size = [max(1, round(side * factor)) for side in image.shape[1:]]
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def answer(
    network: SegmentationNetwork, image: Tensor, classes: Classes, inference: InferenceConfig, alpha: float
) -> Answer:
    """Run a network on an image, uint8 (3,H,W); alpha: strength of the colors, from 0 to 1."""
    start = time.perf_counter()
    label = infer(network, image[None], inference).classes[0]
    milliseconds = 1000 * (time.perf_counter() - start)
    return Answer(overlay(image, label, classes, alpha=alpha), label, milliseconds)


def legend(label: Tensor, classes: Classes) -> str:
    """Colors, names and shares of the classes that are seen, the largest first, as HTML."""
    counts = torch.bincount(label.flatten(), minlength=len(classes)).tolist()
    lines = [
        f'<li><span style="background:rgb{tuple(classes.colors[index])}"></span>'
        f"{escape(classes.names[index])} {100 * counts[index] / label.numel():.1f} %</li>"
        for index in sorted(range(len(classes)), key=lambda index: -counts[index])
        if counts[index]
    ]
    return f'<ul class="legend">{"".join(lines)}</ul>'
