"""How images go into a backbone and its stages come out: seen by trial, once for each architecture."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from segdistill.core.errors import RecipeError
from segdistill.core.pixels import RGB
from segdistill.models.probing import cut, evaluating, fit, try_images


@dataclass(frozen=True)
class StageFit:
    """How images go into a backbone and its stages come out.

    Attributes:
        divisor: What the sides of an image must be multiples of.
        channels_last: Whether the stages are (N,h,w,C).
    """

    divisor: int = 1
    channels_last: bool = False

    def __call__(self, backbone: nn.Module, pixels: Tensor) -> tuple[Tensor, ...]:
        """The stages of images of any size.

        Args:
            backbone: Of this fit.
            pixels: Normalized images (N,3,H,W).

        Returns:
            The stages (N,C,h,w), finest first.
        """
        padded = fit(pixels, divisor=self.divisor)
        stages = backbone(padded)
        if self.channels_last:
            stages = [stage.permute(0, 3, 1, 2) for stage in stages]
        return tuple(cut(stage, pixels, padded) for stage in stages)


_fits: dict[Hashable, StageFit] = {}
"""What `probe_backbone` saw of each architecture; another network of the same takes the same images."""

_arguments: dict[Hashable, dict[str, Any]] = {}
"""The further arguments that `with_any_size` chose for each."""


def probe_backbone(backbone: Any, name: str, architecture: Hashable, channels: int = RGB) -> StageFit:
    """Try `backbone` for its divisor and layout, once for each architecture.

    Args:
        backbone: Gives stages, with their channels in `feature_info`.
        name: What it is called in errors.
        architecture: All that its layers depend on, but for the number of channels that it sees.
        channels: That it sees.

    Returns:
        How images go into it and its stages come out.

    Raises:
        RecipeError: It takes one size of image only, or its stages are not maps of the channels it says.
    """
    if architecture not in _fits:
        _fits[architecture] = _probe(backbone, name, channels)
    return _fits[architecture]


def _probe(backbone: Any, name: str, channels_seen: int) -> StageFit:
    """What a trial shows."""
    channels: list[int] = list(backbone.feature_info.channels())
    with evaluating(backbone), torch.no_grad():
        try:
            tried = try_images(backbone, f"Backbone '{name}'", next(backbone.parameters()), channels=channels_seen)
        except RecipeError as error:
            raise RecipeError(
                f"Backbone '{name}' takes images of one size only ({error.__cause__}), and images of a data set have "
                "any. Choose one that takes all sizes, such as a ResNet, ConvNeXt, HRNet or Swin."
            ) from error
    shapes = [tuple(stage.shape) for stage in tried.output]
    for channels_last, axis in ((False, 1), (True, 3)):
        if len(shapes) == len(channels) and all(
            len(shape) == 4 and shape[axis] == count for shape, count in zip(shapes, channels, strict=True)
        ):
            return StageFit(tried.divisor, channels_last)
    raise RecipeError(
        f"Backbone '{name}' says its stages have {channels} channels, and gives tensors of {shapes} for an image; "
        "expected maps N,C,h,w or N,h,w,C. Choose another backbone."
    )


def with_any_size(
    make: Callable[[dict[str, Any]], nn.Module], architecture: Hashable, channels: int = RGB
) -> nn.Module:
    """The backbone that `make` gives with further arguments, for images of any size where it needs telling so.

    timm's transformers of one image size interpolate their positions with `dynamic_img_size`, others take any size with
    `strict_img_size=False`. One that takes neither comes as it is, and is refused by `probe_backbone`.

    Args:
        make: Makes it with further arguments.
        architecture: All that its layers depend on, but for the number of channels; it is tried once for each.
        channels: That it sees.

    Returns:
        The backbone.
    """
    if architecture in _arguments:
        return make(_arguments[architecture])
    plain = make({})
    _arguments[architecture] = {}
    if _takes_two_sizes(plain, channels):
        return plain
    further: Sequence[dict[str, Any]] = ({"dynamic_img_size": True}, {"strict_img_size": False})
    for arguments in further:
        try:
            other = make(arguments)
        except (TypeError, ValueError, AttributeError, AssertionError):  # it has no such argument
            continue
        if _takes_two_sizes(other, channels):
            _arguments[architecture] = arguments
            return other
    return plain


def _takes_two_sizes(backbone: nn.Module, channels: int) -> bool:
    with evaluating(backbone), torch.no_grad():
        try:
            try_images(backbone, "", next(backbone.parameters()), channels=channels)
        except RecipeError:
            return False
    return True
