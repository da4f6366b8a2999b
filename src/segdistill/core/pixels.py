"""What a pixel of an image is: how many channels it has, and which stored values are dark and bright."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RGB = 3
"""Channels of a color image."""

Range = tuple[float, float]
"""The stored values that become 0 and 1."""


def normalization_fault(mean: Sequence[float], std: Sequence[float]) -> str:
    """What is wrong with the numbers that pixels in [0,1] are normalized by.

    Args:
        mean: To be subtracted from each channel.
        std: To be divided by then.

    Returns:
        A sentence with the remedy; nothing if they can be right.
    """
    if len(mean) != len(std) or not all(each > 0 for each in std):
        return f"mean={[*mean]} and std={[*std]} don't fit: both have a number for each channel, and std none of 0"
    if max(mean) > 1:
        return f"mean={[*mean]} is of pixels from 0 to 255, and here they are from 0 to 1. Divide mean and std by 255"
    return ""


@dataclass(frozen=True)
class PixelFormat:
    """What the images of a data set are, and so those that a network trained on it takes.

    Attributes:
        channels: N of a pixel.
        ranges: The stored values that become 0 and 1, for all channels or one for each; None: bytes, of 0 to 255.
    """

    channels: int = RGB
    ranges: tuple[Range, ...] | None = None

    @property
    def plain(self) -> bool:
        """Whether images are RGB of 8 bits, which any image file can be read as."""
        return self.channels == RGB and self.ranges is None

    def __str__(self) -> str:
        values = "bytes" if self.ranges is None else f"the range {', '.join(f'{a:g} to {b:g}' for a, b in self.ranges)}"
        return f"images of {self.channels} channel(s), {values}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, which `pixel_format` reads back."""
        ranges = {} if self.ranges is None else {"range": [list(each) for each in self.ranges]}
        return {"channels": self.channels, **ranges}


RGB_BYTES = PixelFormat()
"""What any image of 8 bits can be read as."""


def pixel_format(values: Mapping[str, Any] | None) -> PixelFormat:
    """What `PixelFormat.as_dict` wrote.

    Args:
        values: The plain values; None for RGB of 8 bits.

    Raises:
        ValueError: They are something else.
    """
    if values is None:
        return RGB_BYTES
    ranges = values.get("range")
    channels = int(values["channels"])
    if channels < 1 or (ranges is not None and len(ranges) not in (1, channels)):
        raise ValueError(f"images of {channels} channels with the ranges {ranges}")
    pairs = None if ranges is None else tuple((float(low), float(high)) for low, high in ranges)
    return PixelFormat(channels, pairs)


def over_channels(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Values of red, green and blue for any number of channels, as timm adapts filters: one channel gets their mean.

    Args:
        values: One a channel of what is known.
        channels: N.

    Returns:
        N values: those given in turn, or their mean for N = 1.
    """
    if channels == 1:
        return (sum(values) / len(values),)
    return tuple(values[index % len(values)] for index in range(channels))
