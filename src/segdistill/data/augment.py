"""Training augmentation as a pure function of a sample and a random generator.

Constants are those of the published protocols (OpenMMLab, CIRKD): scale 0.5-2.0, category-ratio crop 0.75, flip 0.5,
brightness +-32/255, contrast and saturation 0.5-1.5, hue +-18/180.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tf

from segdistill.data.base import IGNORE_INDEX, Sample

_PAD_COLOUR = (124, 116, 104)  # the ImageNet mean: close to zero after any network's normalisation
_CROP_TRIES = 10


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random scale, crop, flip and photometric distortion.

    crop: (h,w) of the result. scale: range of the resize factor. max_class_share: a crop where one class holds more
    of the non-void pixels than this is drawn again, ten draws in all; 1 turns the rule off. Padding is void.
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    max_class_share: float = 0.75
    flip: bool = True
    photometric: bool = True

    def __call__(self, sample: Sample, generator: Generator) -> tuple[Tensor, Tensor]:
        """`sample` -> image uint8 (3,h,w), label uint8 (h,w)."""
        low, high = self.scale
        factor = low + (high - low) * _uniform(generator)
        height, width = (max(1, round(side * factor)) for side in sample.label.shape)
        # Exact: as the image's bilinear resize, it aligns pixel centres; plain nearest would shift thin things.
        label = tf.resize(sample.label[None], [height, width], InterpolationMode.NEAREST_EXACT)[0]
        top, left = self._crop_corner(label, generator)
        box = [top, left, min(self.crop[0], height - top), min(self.crop[1], width - left)]
        label = tf.crop(label, *box)
        image = tf.crop(tf.resize(sample.image, [height, width], antialias=True), *box)
        if self.flip and _uniform(generator) < 0.5:
            image, label = tf.horizontal_flip(image), tf.horizontal_flip(label)
        if self.photometric:
            image = distort(image, generator)
        return self._pad(image, label)

    def _crop_corner(self, label: Tensor, generator: Generator) -> tuple[int, int]:
        height, width = label.shape
        for _ in range(_CROP_TRIES):
            top = _integer(generator, max(height - self.crop[0], 0))
            left = _integer(generator, max(width - self.crop[1], 0))
            if self.max_class_share >= 1:
                break
            window = label[top : top + self.crop[0], left : left + self.crop[1]]
            counts = torch.bincount(window.reshape(-1), minlength=IGNORE_INDEX + 1)[:IGNORE_INDEX]
            if (counts > 0).sum() > 1 and counts.max() < self.max_class_share * counts.sum():
                break
        return top, left

    def _pad(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        height, width = label.shape
        if (height, width) == self.crop:
            return image, label
        canvas = torch.tensor(_PAD_COLOUR, dtype=torch.uint8)[:, None, None].repeat(1, *self.crop)
        void = torch.full(self.crop, IGNORE_INDEX, dtype=torch.uint8)
        canvas[:, :height, :width] = image
        void[:height, :width] = label
        return canvas, void


def distort(image: Tensor, generator: Generator) -> Tensor:
    """Photometric distortion of a uint8 (3,h,w) image: brightness, contrast, saturation, hue, each with chance 1/2.

    Contrast comes before the colour changes or after them, by a coin of its own.
    """
    brightness, contrast_on, contrast_first, saturation_on, hue_on = (_uniform(generator) < 0.5 for _ in range(5))
    shift = (2 * _uniform(generator) - 1) * 32 / 255
    contrast, saturation = (0.5 + _uniform(generator) for _ in range(2))
    turn = (2 * _uniform(generator) - 1) * 18 / 180 if hue_on else 0.0
    pixels = tf.to_dtype(image, torch.float32, scale=True)
    if brightness:
        pixels = (pixels + shift).clamp_(0, 1)
    if contrast_on and contrast_first:
        pixels = (pixels * contrast).clamp_(0, 1)
    if saturation_on or hue_on:
        pixels = _shift_hue_saturation(pixels, turn, saturation if saturation_on else 1.0)
    if contrast_on and not contrast_first:
        pixels = (pixels * contrast).clamp_(0, 1)
    distorted: Tensor = tf.to_dtype(pixels, torch.uint8, scale=True)
    return distorted


def _shift_hue_saturation(pixels: Tensor, turn: float, saturation: float) -> Tensor:
    """Scale saturation and turn the hue (in full turns) of RGB (3,h,w) in [0,1], in HSV."""
    value, _ = pixels.max(0)
    chroma = value - pixels.min(0).values
    scale = chroma.clamp_min(1e-6)
    red, green, blue = pixels
    hue = torch.where(
        value == red,
        (green - blue) / scale,
        torch.where(value == green, 2 + (blue - red) / scale, 4 + (red - green) / scale),
    )
    hue = hue + 6 * turn
    chroma = torch.minimum(chroma * saturation, value)
    # Each channel of HSV is value - chroma * a trapezoid of the hue, shifted by a third of a turn.
    offsets = torch.tensor([5.0, 3.0, 1.0])[:, None, None]
    k = (offsets + hue).remainder_(6)
    return value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1)


def _uniform(generator: Generator) -> float:
    return float(torch.rand((), generator=generator))


def _integer(generator: Generator, largest: int) -> int:
    return int(torch.randint(largest + 1, (), generator=generator))
