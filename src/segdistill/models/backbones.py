"""Backbones: any timm network that gives its stages, or a published one; with random weights, a hub's or a file's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from timm.models import adapt_input_conv
from torch import Tensor, nn

from segdistill.core.discovery import check_options
from segdistill.core.errors import CheckpointError, RecipeError, listed, nearest
from segdistill.core.paths import expanded
from segdistill.core.pixels import RGB
from segdistill.models.checkpoints.backbone_files import deeper_blocks, published_backbone
from segdistill.models.checkpoints.reading import read_file
from segdistill.models.checkpoints.wrapping import below, prefixes_of
from segdistill.models.families import BACKBONES
from segdistill.models.families.base import take_channels
from segdistill.models.variants import VARIANTS, create_variant, is_variant, stride_of

PRETRAINED = "pretrained"
_PRETRAINED_HERE = "backbone.safetensors"
"""What a run of `segdistill pretrain` ends in."""


def create_backbone(
    name: str,
    *,
    output_stride: int | None = None,
    weights: str | Path | None = None,
    options: dict[str, Any] | None = None,
    channels: int = RGB,
) -> nn.Module:
    """The network `name`, of timm, of `variants` or of `families`, as a stack of features, finest first.

    Args:
        name: The network.
        output_stride: Of the coarsest features; None for the backbone's default.
        weights: None (random), "pretrained" (timm's, downloaded) or a path (see `load_backbone_weights`).
        options: Further arguments of timm's constructor; norm_eps of a MiT (see `set_norm_eps`).
        channels: Of the images. Weights for RGB are adapted to others as timm does: N channels take the filters of red,
            green and blue in turn, times 3/N; one takes their sum.

    Returns:
        A module (N,3,H,W) -> list of stages (N,C,h,w); its `feature_info` has the channels and strides.

    Raises:
        RecipeError: There is no such network, or it can't give features at that stride.
        CheckpointError: The weights can't be downloaded, are missing or do not fit.
    """
    if name not in BACKBONES and not is_variant(name):
        names = [*BACKBONES, *VARIANTS, *timm.list_models()]
        raise RecipeError(f"No backbone is called '{name}'.{nearest(name, names)}")
    if name in BACKBONES:
        backbone = _create_own(name, options or {}, channels, pretrained=weights == PRETRAINED)
    else:
        output_stride = output_stride or stride_of(name)
        backbone = create_variant(name, output_stride, options, pretrained=weights == PRETRAINED, channels=channels)
    actual = backbone.feature_info.reduction()[-1]  # type: ignore[operator, union-attr]
    if output_stride not in (None, actual):  # some timm networks ignore a stride they can't make
        raise RecipeError(f"Backbone '{name}' gives output stride {actual} when asked for {output_stride}.")
    if weights is not None and weights != PRETRAINED:
        load_backbone_weights(backbone, name, expanded(Path(weights)), channels)
    return backbone


def _create_own(name: str, options: dict[str, Any], channels: int, *, pretrained: bool) -> nn.Module:
    """A backbone of `families`."""
    if pretrained:
        raise CheckpointError(
            f"No pretrained weights of '{name}' can be downloaded. Set backbone_weights to a file, or to null for "
            "random weights."
        )
    cls, defaults = BACKBONES[name]
    backbone = cls(**check_options(cls, defaults | options, "backbone_options"))
    if channels != RGB:
        take_channels(backbone, channels)
    return backbone


def describe_backbone(backbone: Any) -> tuple[list[int], tuple[float, ...], tuple[float, ...]]:
    """What a head and a network need to know of a backbone.

    Args:
        backbone: What `create_backbone` made.

    Returns:
        Channels of the stages, finest first; mean and std of the RGB images in [0,1] that its weights expect.
    """
    config = backbone.pretrained_cfg
    return list(backbone.feature_info.channels()), tuple(config["mean"]), tuple(config["std"])


def load_backbone_weights(backbone: nn.Module, name: str, path: Path, channels: int = RGB) -> None:
    """Fill `backbone` from a file; only the classifier's side and whole stages may be left over.

    Args:
        backbone: The network to fill.
        name: What it is called, for the file in a folder and for errors.
        path: A .safetensors file with timm's names, a folder that holds `<name>.safetensors` (of a variant
            also timm's own, such as mobilenetv2_100.safetensors for mobilenetv2_short), the run folder of a
            `pretrain`, or a published torch file (.pth) of the backbone with the names of OpenMMLab, CIRKD or NVlabs.
        channels: Of the images that it takes; weights for RGB are adapted to others.

    Raises:
        CheckpointError: There is no such file, or it is of another backbone.
    """
    file = path / f"{name}.safetensors" if path.is_dir() else path
    if not file.is_file() and (path / _PRETRAINED_HERE).is_file():
        file = path / _PRETRAINED_HERE
    if not file.is_file() and name in VARIANTS:  # a variant starts from timm's own weights
        file = path / f"{VARIANTS[name].timm}.safetensors"
    if not file.is_file():
        raise CheckpointError(f"No backbone weights {file}. Set backbone_weights to a file with weights of '{name}'.")
    tensors = read_file(file).state
    if channels != RGB:
        tensors = {key: _adapted(value, channels) for key, value in tensors.items()}
    expected = backbone.state_dict()
    # As a stack of features, some timm networks write "stem.conv1" as "stem_conv1".
    spelling = {key.replace(".", "_"): key for key in expected}
    faults: list[str] = []
    for prefix in prefixes_of(tensors):
        inside = below(tensors, prefix)
        if 2 * len(inside) < len(expected):
            continue
        renamed = {spelling.get(key.replace(".", "_"), key): value for key, value in inside.items()}
        misfits = [f"{key} is missing" for key in sorted(set(expected) - set(renamed))]
        misfits += [f"{key} is not in the network" for key in deeper_blocks(renamed, expected)]
        misfits += [
            f"{key} is {tuple(renamed[key].shape)} in the file and {tuple(expected[key].shape)} in the network"
            for key in expected
            if key in renamed and renamed[key].shape != expected[key].shape
        ]
        weights = published_backbone(inside, name, expected) if misfits else renamed
        if weights is not None:
            backbone.load_state_dict({key: weights[key] for key in expected})
            return
        faults = misfits if not faults or len(misfits) < len(faults) else faults
    faults = faults or [f"it has {len(tensors)} tensors, the backbone {len(expected)}"]
    raise CheckpointError(
        f"Weights {file} are not those of backbone '{name}' ({len(faults)} tensors do not fit):\n  {listed(faults, 4)}"
    )


def _adapted(value: Tensor, channels: int) -> Tensor:
    """A tensor of a file; if it is the kernel of a convolution that reads RGB, for `channels` inputs."""
    if value.ndim != 4 or value.shape[1] != RGB:
        return value
    adapted: Tensor = adapt_input_conv(channels, value)
    return adapted
