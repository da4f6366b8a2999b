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
    """The size of an image at each of the scales.

    Args:
        size: (H,W) of the image.
        config: the protocol; `fit` and `scales` count.

    Returns:
        (H,W) of each view, rounded, one pixel a side at least.
    """
    sizes = []
    for scale in config.scales:
        factor = scale
        if config.fit is not None:
            bounds = [int(side * scale) for side in config.fit]
            factor = min(max(bounds) / max(size), min(bounds) / min(size))
        sizes.append((max(1, int(size[0] * factor + 0.5)), max(1, int(size[1] * factor + 0.5))))
    return sizes


class View:
    """Images at another size, mirrored or not, as a network's input: float32 in [0,1].

    Args:
        image: uint8 (N,3,H,W).
        size: (h,w) of the view.
        mirrored: whether left and right are exchanged.
        config: the protocol; `align_images` counts.
    """

    def __init__(self, image: Tensor, size: Size, mirrored: bool, config: InferenceConfig) -> None:
        self.size, self.mirrored = size, mirrored
        self._image, self._align_corners = image, config.align_images

    def whole(self) -> Tensor:
        """All of the view (N,3,h,w)."""
        pixels = as_input(self._image)
        if pixels.shape[-2:] != self.size:
            resized = F.interpolate(pixels, self.size, mode="bilinear", align_corners=self._align_corners)
            pixels = resized.contiguous(memory_format=torch.channels_last)
        return pixels.flip(-1) if self.mirrored else pixels

    def window(self, top: int, left: int, size: Size) -> Tensor:
        """A part of the view; nothing else of it is made. Its plain twin cuts the part out of `whole`.

        Args:
            top: the first row.
            left: the first column.
            size: (h,w) of the part.

        Returns:
            Pixels (N,3,h,w).
        """
        height, width = size
        # Columns 1 .. 3 of a mirrored view of 8 columns are columns 6, 5, 4 of the view that is not: its columns
        # 4 .. 6 are cut out and turned.
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
