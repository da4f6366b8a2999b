"""Backbones: any timm network that gives its stages, with weights from nowhere, from timm's hub or from a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from segdistill.errors import CheckpointError, RecipeError, nearest

PRETRAINED = "pretrained"


def create_backbone(name: str, *, output_stride: int = 32, weights: str | Path | None = None) -> nn.Module:
    """The timm network `name` as a stack of features, finest first; `feature_info` tells their channels.

    weights: None (random), "pretrained" (timm's, downloaded), a .safetensors file with timm's names, or a folder
    that holds `<name>.safetensors`.
    """
    if not timm.is_model(name):
        raise RecipeError(f"No timm backbone is called '{name}'.{nearest(name, timm.list_models())}")
    try:
        backbone: nn.Module = timm.create_model(
            name, features_only=True, output_stride=output_stride, pretrained=weights == PRETRAINED
        )
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        raise RecipeError(f"Backbone '{name}' can't give features at output stride {output_stride}: {error}") from error
    except OSError as error:  # the hub's connection and cache errors
        raise CheckpointError(
            f"Can't download the pretrained weights of '{name}': {error}. Without a connection, set backbone_weights "
            f"to a file or a folder with {name}.safetensors, or to null for random weights."
        ) from error
    if weights is not None and weights != PRETRAINED:
        load_backbone_weights(backbone, name, Path(weights))
    return backbone


def describe_backbone(backbone: Any) -> tuple[list[int], tuple[float, ...], tuple[float, ...]]:
    """Channels of the stages, finest first; mean and std of the RGB images in [0,1] that its weights expect."""
    config = backbone.pretrained_cfg
    return list(backbone.feature_info.channels()), tuple(config["mean"]), tuple(config["std"])


def load_backbone_weights(backbone: nn.Module, name: str, path: Path) -> None:
    """Fill `backbone` from a timm-named .safetensors file; only the classifier's side may be left over."""
    file = path / f"{name}.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError(f"No backbone weights {file}. Set backbone_weights to a .safetensors file of '{name}'.")
    try:
        found = load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"Can't read backbone weights {file}: {error}. Expected a .safetensors file.") from error
    wanted = backbone.state_dict()
    # FeatureListNet flattens "layer1.0" to "layer1.0" but names nested stages with underscores; try both spellings.
    renamed = {
        key if key in wanted else re.sub(r"\.(\d+)\.", r"_\1.", key, count=1): value for key, value in found.items()
    }
    missing = sorted(set(wanted) - set(renamed))
    misshapen = [
        f"{key}: file {tuple(renamed[key].shape)}, network {tuple(wanted[key].shape)}"
        for key in wanted
        if key in renamed and renamed[key].shape != wanted[key].shape
    ]
    if missing or misshapen:
        raise CheckpointError(
            f"Weights {file} are not those of backbone '{name}': {len(missing)} tensors missing "
            f"(first {missing[:1]}), {len(misshapen)} of another shape (first {misshapen[:1]})."
        )
    backbone.load_state_dict({key: renamed[key] for key in wanted})
