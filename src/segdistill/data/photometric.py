"""Photometric distortion of images, as OpenMMLab defines it for 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from segdistill.core.pixels import RGB

Picture = NDArray[Any]
"""An RGB image (H,W,3), or one of other channels (H,W,C): uint8, or float32 in [0,1]."""

_VALUES = np.arange(256, dtype=np.float32)


@dataclass(frozen=True)
class Distortion:
    """What to do to a picture; a part that is None is left out.

    Each part works on 8-bit values and its result is cut off at 0 and 255 and rounded down; saturation and hue are
    those of OpenCV's 8-bit HSV. Brightness comes first. Of floats nothing is rounded. Saturation and hue are of RGB,
    and left out for other channels.

    Attributes:
        brightness: added, of 255.
        contrast: a factor.
        saturation: a factor.
        hue: added, of 180 for a full turn.
        contrast_last: whether contrast comes after the colors, not before them.
    """

    brightness: float | None = None
    contrast: float | None = None
    saturation: float | None = None
    hue: int | None = None
    contrast_last: bool = False

    @classmethod
    def draw(cls, generator: Generator) -> Distortion:
        """Each part with chance 1/2: brightness -32..32, contrast and saturation 0.5..1.5, hue -18..17.

        Args:
            generator: on the CPU.

        Returns:
            What to do to a picture.
        """
        on = torch.randint(2, (5,), generator=generator).tolist()
        brightness, contrast, saturation = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
        hue = int(torch.randint(-18, 18, (), generator=generator))
        return cls(
            brightness=64 * brightness - 32 if on[0] else None,
            contrast=0.5 + contrast if on[1] else None,
            saturation=0.5 + saturation if on[2] else None,
            hue=hue if on[3] else None,
            contrast_last=bool(on[4]),
        )

    def __call__(self, picture: Picture) -> Picture:
        """Distort a picture; the given one is left as it is.

        Args:
            picture: RGB uint8 (H,W,3), or as `Picture` says.

        Returns:
            The same form.
        """
        if picture.dtype != np.uint8:
            return self._of_floats(picture)
        # What becomes of each of the 256 values is computed, not what becomes of each pixel. Brightness 10, contrast 2:
        #   value   0   1   ...   117   118   ...   255
        #   + 10   10  11         127   128         255     * 2   20  22   ...   254   255   ...   255
        values = _VALUES
        if self.brightness is not None:
            values = _bytes(values + np.float32(self.brightness))
        if self.contrast is not None and not self.contrast_last:
            values = _bytes(values * np.float32(self.contrast))
        if values is not _VALUES:
            picture = _look_up(picture, values)
        if self.saturation is not None and picture.shape[2] == RGB:
            picture = _in_hsv(picture, 1, _bytes(_VALUES * np.float32(self.saturation)))
        if self.hue is not None and picture.shape[2] == RGB:
            picture = _in_hsv(picture, 0, (_VALUES + self.hue) % 180)
        if self.contrast is not None and self.contrast_last:
            picture = _look_up(picture, _bytes(_VALUES * np.float32(self.contrast)))
        return picture

    def _of_floats(self, picture: Picture) -> Picture:
        """As for bytes, of float32 in [0,1]."""
        if self.brightness is not None:
            picture = np.clip(picture + np.float32(self.brightness / 255), 0, 1)
        if self.contrast is not None and not self.contrast_last:
            picture = np.clip(picture * np.float32(self.contrast), 0, 1)
        if picture.shape[2] == RGB and (self.saturation is not None or self.hue is not None):
            hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
            hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(1 if self.saturation is None else self.saturation), 0, 1)
            hsv[..., 0] = (hsv[..., 0] + 2 * (self.hue or 0)) % 360  # in degrees, of bytes in half of them
            picture = np.clip(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), 0, 1)
        if self.contrast is not None and self.contrast_last:
            picture = np.clip(picture * np.float32(self.contrast), 0, 1)
        return np.asarray(picture, np.float32)


def _bytes(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut off at 0 and 255 and rounded down."""
    return np.floor(np.clip(values, 0, 255))


def _look_up(picture: Picture, values: NDArray[np.float32]) -> Picture:
    return np.asarray(cv2.LUT(picture, values.astype(np.uint8)), dtype=np.uint8).reshape(picture.shape)


def _in_hsv(picture: Picture, channel: int, values: NDArray[np.float32]) -> Picture:
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    hsv[..., channel] = _look_up(np.ascontiguousarray(hsv[..., channel]), values)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)
