"""Labelled images as a network is tested on them: whole or in windows, never augmented."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX
from segdistill.data.base import Sample
from segdistill.evaluation.inference.padding import bordered
from segdistill.evaluation.inference.sliding import window_starts
from segdistill.evaluation.inference.views import View, view_sizes
from segdistill.evaluation.settings import InferenceConfig

_MOST = 4  # inputs in a batch: enough for batch norm, few enough for images that are not cropped


def batches_as_tested(
    samples: Iterable[Sample], config: InferenceConfig, device: torch.device | str = "cpu"
) -> Iterator[tuple[Tensor, Tensor]]:
    """What the network gets when these images are tested, with the labels of its pixels.

    Of several scales the one nearest to 1 is taken, of mirrored and plain views the plain one. Neighbours of one size
    share a batch.

    Args:
        samples: Images with labels.
        config: How images are tested.
        device: That the batches are moved to.

    Yields:
        Inputs (N,C,H,W), float32 in [0,1], and labels (N,H,W) of their pixels, N at most 4.
    """
    inputs: list[Tensor] = []
    labels: list[Tensor] = []
    for sample in samples:
        for pixels, label in _views(sample, config):
            if inputs and (pixels.shape != inputs[0].shape or len(inputs) == _MOST):
                yield torch.stack(inputs).to(device), torch.stack(labels).to(device)
                inputs, labels = [], []
            inputs.append(pixels)
            labels.append(label)
    if inputs:
        yield torch.stack(inputs).to(device), torch.stack(labels).to(device)


def _views(sample: Sample, config: InferenceConfig) -> Iterator[tuple[Tensor, Tensor]]:
    """The whole image (C,H,W) with its label, or every window of it."""
    plain = config.model_copy(update={"scales": (min(config.scales, key=lambda scale: abs(scale - 1)),)})
    height, width = sample.label.shape
    image = sample.image[None]
    if config.mode == "whole":
        image = bordered(image, config.size_divisor)
    label = F.pad(sample.label, (0, image.shape[-1] - width, 0, image.shape[-2] - height), value=IGNORE_INDEX)
    (size,) = view_sizes((image.shape[-2], image.shape[-1]), plain)
    view = View(image, size, False, config)
    label = F.interpolate(label[None, None].float(), size)[0, 0].to(label.dtype)
    if config.mode == "whole":
        yield view.whole()[0], label
        return
    assert config.crop is not None
    down, right = config.window_stride
    tall, wide = (min(side, crop) for side, crop in zip(size, config.crop, strict=True))
    for top in window_starts(size[0], config.crop[0], down):
        for left in window_starts(size[1], config.crop[1], right):
            yield view.window(top, left, (tall, wide))[0], label[top : top + tall, left : left + wide]
