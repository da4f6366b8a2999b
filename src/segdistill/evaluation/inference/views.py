"""The views of an image that a network sees: scaled, mirrored, whole or a window at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.evaluation.inference.taps import taps
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.network import as_input

Size = tuple[int, int]


def view_sizes(size: Size, config: InferenceConfig) -> list[Size]:
    """The size (H,W) of the image of `size` at each of the scales."""
    sizes = []
    for scale in config.scales:
        factor = scale
        if config.fit is not None:
            bounds = [int(side * scale) for side in config.fit]
            factor = min(max(bounds) / max(size), min(bounds) / min(size))
        sizes.append((max(1, int(size[0] * factor + 0.5)), max(1, int(size[1] * factor + 0.5))))
    return sizes


class View:
    """Images (uint8 N,3,H,W) at `size`, mirrored or not, as a network's input: float32 in [0,1]."""

    def __init__(self, image: Tensor, size: Size, mirrored: bool, config: InferenceConfig) -> None:
        self.size, self.mirrored = size, mirrored
        self._image, self._align_corners = image, config.align_images

    def whole(self) -> Tensor:
        pixels = as_input(self._image)
        if pixels.shape[-2:] != self.size:
            resized = F.interpolate(pixels, self.size, mode="bilinear", align_corners=self._align_corners)
            pixels = resized.contiguous(memory_format=torch.channels_last)
        return pixels.flip(-1) if self.mirrored else pixels

    def window(self, top: int, left: int, size: Size) -> Tensor:
        """The part of `whole` of `size` from (top, left) on; nothing else of it is made."""
        height, width = size
        if self.mirrored:
            left = self.size[1] - left - width
        image = self._image
        if image.shape[-2:] == self.size:
            pixels = as_input(image[..., top : top + height, left : left + width])
        else:
            rows, columns = (
                taps(whole, target, first, first + length, align_corners=self._align_corners)
                for whole, target, first, length in zip(image.shape[-2:], self.size, (top, left), size, strict=True)
            )
            pixels = as_input(image[..., rows.start : rows.stop, columns.start : columns.stop])
            pixels = columns.of(rows.of(pixels, -2), -1).contiguous(memory_format=torch.channels_last)
        return pixels.flip(-1) if self.mirrored else pixels
