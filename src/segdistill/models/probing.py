"""What a foreign network takes and gives: tried once, on small images of odd sides, before anything is built on it.

A batch of one image tells the divisor of its sides, the layout of the maps and their channels. Adapters and timm's
backbones are tried alike; a network of this library takes every size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.errors import RecipeError
from segdistill.core.pixels import RGB
from segdistill.models.channels import image_channels
from segdistill.models.layers import BatchNorm

DIVISORS = (1, 2, 4, 8, 14, 16, 32, 64)
_LEAST = (69, 101)
REFUSALS = (RuntimeError, ValueError, AssertionError, IndexError, TypeError)
"""How networks say that they do not take an image."""


@dataclass(frozen=True)
class Tried:
    """The first image that a network took.

    Attributes:
        image: Its H,W.
        output: What the network gave.
        divisor: What the sides had to be multiples of.
    """

    image: tuple[int, int]
    output: Any
    divisor: int


def try_images(
    network: Callable[[Tensor], Any],
    name: str,
    like: Tensor,
    *,
    divisor: int | None = None,
    size: tuple[int, int] | None = None,
    channels: int = RGB,
) -> Tried:
    """Run `network` on images of odd multiples of 1, 2, 4, ... until it takes one, and a second one of another shape.

    Args:
        network: Takes a batch of one image; its module is in evaluation mode.
        name: What it is called in the error.
        like: A parameter, whose device and number type the images have.
        divisor: The only multiples to try, if they are known.
        size: H,W of the only image to try, if it is known.
        channels: Of the images.

    Returns:
        The first image it took.

    Raises:
        RecipeError: It takes none of them.
    """
    failure: Exception | None = None
    for multiple in (1,) if size else (divisor,) if divisor else DIVISORS:
        height, width = size or (odd_multiple(_LEAST[0], multiple), odd_multiple(_LEAST[1], multiple))
        try:
            if multiple > 1 and divisor is None:  # a network of one size may by chance be shown that
                network(_noise(channels, height + 2 * multiple, width, like))
            return Tried((height, width), network(_noise(channels, height, width, like)), multiple)
        except REFUSALS as error:
            failure = failure or error
    if "spatial element" in str(failure):  # torch's words
        raise RecipeError(
            f"{name} can't be run on any image: an instance norm of it sees maps of 1x1, which have no variance "
            f"({failure}). Take the norm behind the pooling out."
        ) from failure
    tried = f"{size[0]}x{size[1]}" if size else f"{_LEAST[0]}x{_LEAST[1]}, also padded to multiples of {DIVISORS[-1]}"
    raise RecipeError(
        f"{name} does not take an image of {tried}: {failure or type(failure).__name__}. If it takes one size only, "
        "set size=[H,W]; if it needs multiples of something else, set divisor."
    ) from failure


def _noise(channels: int, height: int, width: int, like: Tensor) -> Tensor:
    noise = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(0), device="cpu")
    return noise.to(like)


def odd_multiple(least: int, multiple: int) -> int:
    """An odd multiple, so that a higher power of two does not divide it.

    Args:
        least: What it must not be less than.
        multiple: What it is an odd multiple of.

    Returns:
        The least such number.
    """
    return multiple * (-(-least // multiple) | 1)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards every submodule's former mode again.

    Args:
        module: The network.
    """
    modes = [(inner, inner.training) for inner in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for inner, mode in modes:
            inner.training = mode


def fit(pixels: Tensor, *, divisor: int = 1, size: tuple[int, int] | None = None) -> Tensor:
    """Images of a size that a network takes: resized to `size`, or padded with their border at the bottom and right.

    Args:
        pixels: (N,3,H,W).
        divisor: What the sides must be multiples of, without `size`.
        size: (h,w), None for images of any size.

    Returns:
        (N,3,h,w).
    """
    height, width = pixels.shape[-2:]
    if size is not None:
        if (height, width) == tuple(size):
            return pixels
        return F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
    bottom, right = -height % divisor, -width % divisor
    return F.pad(pixels, (0, right, 0, bottom), mode="replicate") if bottom or right else pixels


def cut(maps: Tensor, image: Tensor, padded: Tensor) -> Tensor:
    """The inverse of padding for maps: the cells that cover the image; one that covers any of it stays.

    Args:
        maps: (N,C,h,w) of the padded image.
        image: (N,3,H,W); only the shape counts.
        padded: (N,3,H',W').

    Returns:
        (N,C,ceil(h H / H'),ceil(w W / W')).
    """
    if image.shape[-2:] == padded.shape[-2:]:
        return maps
    height = -(-maps.shape[-2] * image.shape[-2] // padded.shape[-2])
    width = -(-maps.shape[-1] * image.shape[-1] // padded.shape[-1])
    return maps[..., :height, :width]


def norm_of_one_value(network: nn.Module, size: tuple[int, int]) -> str | None:
    """The first batch norm that would see one value a channel, of which there is no variance, while training.

    torch refuses that; it happens behind pooling to 1x1, and on the coarsest stage of small crops.

    Args:
        network: Is run once in evaluation mode, on one image.
        size: H,W of the image.

    Returns:
        Its path and what goes into it, None if there is none.
    """
    norms: list[str] = []

    def note(path: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            x = args[0]
            if x.ndim > 1 and x.numel() == x.shape[1]:
                norms.append(f"'{path}', with an input of {'x'.join(map(str, x.shape))}")

        return hook

    hooks = [
        module.register_forward_pre_hook(note(path))
        for path, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, BatchNorm)  # ours can
    ]
    like = next(network.parameters())
    try:
        with evaluating(network), torch.no_grad():
            network(torch.zeros(1, image_channels(network), *size).to(like))
    finally:
        for hook in hooks:
            hook.remove()
    return norms[0] if norms else None
