"""What every backbone of this library's own gives besides its stages: their channels and strides, and its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from segdistill.core.pixels import RGB


class StageInfo:
    """Channels and strides of a backbone's stages, finest first, with the methods of timm's `FeatureInfo`.

    Args:
        channels: Of each stage.
        strides: Of each stage.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int]) -> None:
        self._channels, self._strides = list(channels), list(strides)

    def channels(self) -> list[int]:
        """Channels of each stage."""
        return self._channels

    def reduction(self) -> list[int]:
        """Stride of each stage."""
        return self._strides


class Backbone(nn.Module):
    """RGB (N,3,H,W), normalized as for ImageNet -> a list of stages (N,C,h,w), finest first.

    Args:
        channels: Of the stages.
        strides: Of the stages.
    """

    pretrained_cfg: ClassVar[dict[str, Any]] = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}
    """Mean and std that the pixels are normalized with, under timm's name."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.feature_info = StageInfo(channels, strides)


def initialize(network: nn.Module) -> None:
    """Kaiming for the convolutions that a norm follows; the others stay as torch makes them.

    Args:
        network: Whose convolutions are initialized.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is None:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def take_channels(network: nn.Module, channels: int) -> None:
    """Make the convolutions that read the image, those of three inputs, for other images; their weights are drawn anew.

    Args:
        network: A backbone for RGB, just initialized.
        channels: Of the images.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == RGB:
            module.in_channels = channels
            module.weight = nn.Parameter(module.weight.new_empty(len(module.weight), channels, *module.kernel_size))
            module.reset_parameters()
            initialize(module)
