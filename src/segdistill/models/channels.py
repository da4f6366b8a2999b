"""Which channels of the images a network sees, and whether it can be shown those of a data set."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from segdistill.core.errors import RecipeError
from segdistill.core.pixels import RGB, PixelFormat
from segdistill.models.network import SegmentationNetwork
from segdistill.models.spec import NetworkSpec, is_adapted


def image_channels(network: nn.Module) -> int:
    """How many channels the images of a network have: those it was trained on, else as few as it can be shown.

    Args:
        network: One of ours, or a module with such inside; any other sees RGB.
    """
    return max(map(_channels, _seeing(network)), default=RGB)


def pixels_of(network: SegmentationNetwork) -> PixelFormat:
    """What the images of a network are: those that it was trained on, as far as that is known.

    Args:
        network: One of ours.
    """
    return network.pixels or PixelFormat(image_channels(network))


def require_channels(network: nn.Module, pixels: PixelFormat) -> None:
    """Refuse a network that can't be shown images.

    Args:
        network: One of ours, or a module with such inside.
        pixels: What the images are.

    Raises:
        RecipeError: It sees other channels, or was trained on all of images that had fewer.
    """
    for each in _seeing(network):
        each.seen(torch.empty(1, pixels.channels, 1, 1, device="meta"))
        trained_on = 0 if each.pixels is None else each.pixels.channels
        if 0 < trained_on < pixels.channels and each.input_channels == tuple(range(trained_on)):
            raise RecipeError(
                f"The network was trained on images of {trained_on} channel(s), and the images have {pixels.channels}: "
                f"nothing says that the first {trained_on} of them are the same. Say which it sees: teacher.channels "
                f"or network.input_channels, as {list(range(trained_on))}."
            )


def choose_channels(network: SegmentationNetwork, channels: tuple[int, ...], name: str) -> None:
    """Let a network see some channels of the images.

    Args:
        network: That takes so many.
        channels: Their numbers, from 0.
        name: What it is called in the error.

    Raises:
        RecipeError: It takes another number of channels.
    """
    taken = network.mean.shape[1]
    if len(channels) != taken:
        raise RecipeError(
            f"{name} takes {taken} channel(s), and {list(channels)} are {len(channels)}. Choose {taken} of the images' "
            "channels for it, as teacher.channels=[0,1,2]; a network of another library takes as many as it was made "
            "for, and a backbone and head of this one any number."
        )
    network.input_channels = channels
    network.pixels = None  # the images are no longer those that it was trained on


def for_images(spec: NetworkSpec, pixels: PixelFormat, chosen: tuple[int, ...] | None = None) -> NetworkSpec:
    """What a network is made of to be trained on images: for all their channels unless some are chosen.

    Args:
        spec: What it is made of.
        pixels: What the images are.
        chosen: Channels that it sees, over those of the spec.

    Returns:
        The spec itself for RGB; a network of another library takes what it was made for.
    """
    channels = chosen or spec.input_channels
    if channels is None and pixels.channels != RGB and not is_adapted(spec.name):
        channels = tuple(range(pixels.channels))
    return spec if channels == spec.input_channels else spec.model_copy(update={"input_channels": channels})


def _seeing(network: nn.Module) -> Iterator[SegmentationNetwork]:
    """The networks that images go into: all but those around others, which hand them on."""
    for module in network.modules():
        inner = (isinstance(each, SegmentationNetwork) for each in module.modules())
        if isinstance(module, SegmentationNetwork) and sum(inner) == 1:
            yield module


def _channels(network: SegmentationNetwork) -> int:
    trained_on = 0 if network.pixels is None else network.pixels.channels
    chosen = network.input_channels
    return max(trained_on, max(chosen) + 1) if chosen is not None else trained_on or network.mean.shape[1]
