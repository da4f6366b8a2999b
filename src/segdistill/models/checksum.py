"""What tells one network from another, so that what one predicted is not taken for what another would."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segdistill.core.pixels import RGB_BYTES
from segdistill.core.storage import sha256
from segdistill.models.adapters.module import ModuleNetwork
from segdistill.models.loaded import LoadedModel
from segdistill.models.network import SegmentationNetwork


def identity_of(model: LoadedModel) -> dict[str, Any]:
    """All of a network that its predictions depend on: weights, structure, and how it sees images.

    Args:
        model: The network.

    Returns:
        Plain values for JSON: checksum, of the weights; structure, a checksum of its layers; network, the normalization
        and the channels of it and of every network in it.
    """
    network = model.network
    layers = re.sub(r" at 0x[0-9a-f]+", "", repr(network))
    return {
        "checksum": _weights(model),
        "structure": hashlib.sha256(layers.encode()).hexdigest(),
        "network": [_input(each) for each in network.modules() if isinstance(each, SegmentationNetwork)],
    }


def _weights(model: LoadedModel) -> str:
    """Of its file, else of its tensors."""
    state = model.network.state_dict()
    handed_in = model.network.file is not None and state  # it may have been trained on since its file was read
    if model.path.is_file() and not handed_in:
        return _files(model.path)
    return tensors_checksum(state)


def tensors_checksum(state: Mapping[str, Tensor]) -> str:
    """A checksum of tensors and their names.

    Args:
        state: As `state_dict` gives it.

    Returns:
        Of SHA-256, in hexadecimal.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _files(path: Path) -> str:
    """Of a file; an .xml has its weights in the .bin beside it."""
    beside = path.with_suffix(".bin")
    files = [path, beside] if path.suffix == ".xml" and beside.is_file() else [path]
    return "-".join(map(sha256, files))


def _input(network: SegmentationNetwork) -> dict[str, Any]:
    """How a network sees images; of another library's also where its scores are read."""
    channels = network.input_channels
    seen: dict[str, Any] = {
        "mean": network.mean.flatten().tolist(),
        "std": network.std.flatten().tolist(),
        "bgr": network.bgr,
        "input_channels": None if channels is None else list(channels),
        "pixels": (network.pixels or RGB_BYTES).as_dict(),
        "sigmoid": network.sigmoid,
    }
    if isinstance(network, ModuleNetwork):
        size = None if network.size is None else list(network.size)
        seen |= {"size": size, "scores": asdict(network.location)}
    return seen
