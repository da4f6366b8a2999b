"""Training augmentation as a pure function of a sample and a random generator.

The fragments `pipelines/*.yaml` hold the constants of the published protocols.
"""

from __future__ import annotations

from typing import Annotated, Literal, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Generator, Tensor

from segdistill.core.classes import IGNORE_INDEX, UNLABELED
from segdistill.core.numbers import Positive, Size
from segdistill.core.pixels import RGB, over_channels
from segdistill.core.typed_settings import WRITTEN_IF_SET, TypedSettings
from segdistill.data.base import Sample
from segdistill.data.photometric import Distortion, Picture
from segdistill.data.views import View

_CROP_TRIES = 10
_RESIZED = 4  # channels that OpenCV averages at a time


class Augment(TypedSettings):
    """Random scale, crop, flip and photometric distortion, in this order, then padding."""

    crop: Size = (512, 512)
    """The size (H,W) in pixels of what networks are trained on."""

    scale: tuple[Positive, Positive] = (0.5, 2.0)
    """The range that the factor an image is resized by is drawn from."""

    scale_step: Positive | None = None
    """The step between the factors that may be drawn, both ends of `scale` included; null draws from all of it."""

    base_size: Size | None = None
    """The sides (long, short) in pixels that an image is fitted into at factor 1, its shape kept; null: its own."""

    max_class_share: float = Field(0.75, gt=0, le=1)
    """The share of the non-void pixels from which on a class makes its crop be drawn again, up to ten times; 1 turns
    that off."""

    flip: bool = True
    """Whether half of the crops are mirrored sideways."""

    photometric: bool = True
    """Whether brightness, contrast, saturation and hue are changed at random, see `data/photometric.py`; of images of
    other than three channels only the first two."""

    mix: Annotated[Literal["cutmix", "classmix"] | None, WRITTEN_IF_SET] = None
    """What of a second crop, of any other image, is pasted over a crop: a rectangle of a quarter to half of its area
    ("cutmix"), the pixels of half of its classes ("classmix"), or nothing. Teacher and student see the same picture."""

    mix_share: Annotated[float, WRITTEN_IF_SET] = Field(0.5, gt=0, le=1)
    """The share of the crops that `mix` does this to."""

    resize: Literal["exact", "opencv"] = "exact"
    """How images and labels are resized: "exact" averages where an image shrinks, else interpolates, and takes labels
    at pixel centres; "opencv" always interpolates and takes labels up to half a pixel off, as the published pipelines
    do."""

    pad_color: Annotated[tuple[int, ...], Field(min_length=1)] = (124, 116, 104)
    """The RGB, 0 to 255, of what a crop lacks at the bottom and on the right, whose label is void; the default is the
    ImageNet mean, 0 after normalisation to within 0.01. Other channels take its values in turn, a single one their
    mean."""

    def __call__(self, sample: Sample, generator: Generator) -> tuple[Tensor, Tensor]:
        """Augment a sample.

        Args:
            sample: of any size.
            generator: on the CPU; what is drawn depends on it alone.

        Returns:
            Image (3,h,w) as of the sample, a pixel's channels together in memory, and label uint8 (h,w), both of the
            size `crop`.
        """
        image, label, _ = self.viewed(sample, generator)
        return image, label

    def viewed(self, sample: Sample, generator: Generator) -> tuple[Tensor, Tensor, View]:
        """Augment a sample, and tell which part of it is shown.

        Args:
            sample: of any size.
            generator: on the CPU; what is drawn depends on it alone.

        Returns:
            Image (3,h,w) as of the sample, label uint8 (h,w), and the view of the sample that they are.
        """
        picture = np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())
        size = self._size((sample.label.shape[0], sample.label.shape[1]), self._factor(generator))
        label = self._resized_label(sample.label.numpy(), size)
        top, left = self._corner(label, generator)
        height, width = (min(crop, side) for crop, side in zip(self.crop, size, strict=True))
        label = label[top : top + height, left : left + width]
        picture = self._resized(picture, size)[top : top + height, left : left + width]
        flipped = self.flip and bool(torch.rand((), generator=generator) < 0.5)
        if flipped:
            picture, label = cv2.flip(picture, 1).reshape(picture.shape), cast(NDArray[np.uint8], cv2.flip(label, 1))
        if self.photometric:
            picture = Distortion.draw(generator)(np.ascontiguousarray(picture))
        return *self._padded(picture, label), View(size, (top, left), (height, width), self.crop, flipped)

    def _factor(self, generator: Generator) -> float:
        low, high = self.scale
        if self.scale_step is None:
            return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))
        steps = round((high - low) / self.scale_step)
        return low + self.scale_step * int(torch.randint(steps + 1, (), generator=generator))

    def _size(self, size: tuple[int, int], factor: float) -> tuple[int, int]:
        """(h,w) of an image of `size` at the scale `factor`."""
        if self.base_size is not None:
            long, short = (int(side * factor) for side in self.base_size)
            factor = min(long / max(size), short / min(size))
        return max(1, int(size[0] * factor + 0.5)), max(1, int(size[1] * factor + 0.5))

    def _resized(self, picture: Picture, size: tuple[int, int]) -> Picture:
        shrinks = size[0] < picture.shape[0] or size[1] < picture.shape[1]
        how = cv2.INTER_AREA if self.resize == "exact" and shrinks else cv2.INTER_LINEAR
        channels = picture.shape[2]
        if channels == RGB:
            return cast(Picture, cv2.resize(picture, size[::-1], interpolation=how))
        parts = (np.ascontiguousarray(picture[..., at : at + _RESIZED]) for at in range(0, channels, _RESIZED))
        return np.dstack([cv2.resize(part, size[::-1], interpolation=how) for part in parts])

    def _resized_label(self, label: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        how = cv2.INTER_NEAREST_EXACT if self.resize == "exact" else cv2.INTER_NEAREST
        return cast(NDArray[np.uint8], cv2.resize(label, size[::-1], interpolation=how))

    def _corner(self, label: NDArray[np.uint8], generator: Generator) -> tuple[int, int]:
        top, left = 0, 0
        for _ in range(_CROP_TRIES + 1):
            top, left = (
                int(torch.randint(max(side - crop, 0) + 1, (), generator=generator))
                for side, crop in zip(label.shape, self.crop, strict=True)
            )
            if self.max_class_share >= 1 or self.varied(label[top : top + self.crop[0], left : left + self.crop[1]]):
                break
        return top, left

    def varied(self, window: NDArray[np.uint8]) -> bool:
        """Whether a crop holds two classes, and none holds `max_class_share` of the non-void pixels.

        Args:
            window: labels (h,w), uint8.

        Returns:
            False if the crop is to be drawn again.
        """
        counts = cv2.calcHist([np.ascontiguousarray(window)], [0], None, [256], [0, 256]).reshape(-1)[:UNLABELED]
        return bool((counts > 0).sum() > 1 and counts.max() < self.max_class_share * counts.sum())

    def _padded(self, picture: Picture, label: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        bottom, right = (crop - side for crop, side in zip(self.crop, label.shape, strict=True))
        if bottom or right:
            border = (0, bottom, 0, right, cv2.BORDER_CONSTANT)
            color = over_channels(self.pad_color, picture.shape[2])
            pixel = [round(value) if picture.dtype == np.uint8 else value / 255 for value in color]
            inner, picture = picture, np.empty((*self.crop, picture.shape[2]), picture.dtype)
            height, width = inner.shape[:2]
            picture[:height, :width], picture[height:], picture[:height, width:] = inner, pixel, pixel
            label = cast(NDArray[np.uint8], cv2.copyMakeBorder(label, *border, value=(IGNORE_INDEX,)))
        image = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)
        return image, torch.from_numpy(np.ascontiguousarray(label))
