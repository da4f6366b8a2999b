"""Which part of an image a training sample shows, and the same part of a map of that image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class View:
    """Which part of an image a crop shows: the image was resized, cut, perhaps flipped, and padded.

    Attributes:
        size: (h,w) of the resized image, in pixels.
        corner: (top, left) in it, where the crop begins.
        content: (h,w) pixels that were cut there.
        crop: (h,w) of the result, padded at the bottom and on the right.
        flipped: whether what was cut was flipped sideways.
    """

    size: tuple[int, int]
    corner: tuple[int, int]
    content: tuple[int, int]
    crop: tuple[int, int]
    flipped: bool

    def of(self, maps: Tensor, out: tuple[int, int]) -> Tensor:
        """The part of maps of the whole image that the crop shows, bilinearly.

        Cells of both are areas of equal size, as with align_corners false. Beyond the image its border goes on, which
        no loss sees: labels there are void.

        Args:
            maps: (C,h,w), which cover the whole image.
            out: (H,W) of the result.

        Returns:
            (C,H,W), float32, which cover the crop.
        """
        rows, columns = (
            (torch.arange(n, device=maps.device) + 0.5) * (side / n) for n, side in zip(out, self.crop, strict=True)
        )
        if self.flipped:
            columns = self.content[1] - columns
        y = 2 * (rows + self.corner[0]) / self.size[0] - 1
        x = 2 * (columns + self.corner[1]) / self.size[1] - 1
        grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)
        return F.grid_sample(maps.float()[None], grid[None], padding_mode="border", align_corners=False)[0]
