"""Batch norms folded into the convolutions before them: the same numbers in fewer passes over memory.

In evaluation mode a batch norm is a scale and a shift of each channel, which a convolution can do as well:

    y = (w * x + b - m) g / s + d = (g w / s) * x + (b - m) g / s + d,    s = sqrt(v + eps)

w, b: kernel and bias of the convolution; m, v: running mean and variance; g, d: weight and bias of the norm.
"""

from __future__ import annotations

from collections import Counter

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils.hooks import RemovableHandle

from segdistill.core.outputs import SegOutput
from segdistill.models.copies import sharing_tensors
from segdistill.models.layers import BatchNorm

_TOLERANCE = 1e-4
"""Of a map's norm: more than what float32 rounds in a hundred layers, less than what another map differs by."""
_SIDE = 256
"""Of the part of an image that a network is tried on."""


@torch.no_grad()
def folded(network: nn.Module, pixels: Tensor) -> nn.Module | None:
    """A form of a network whose batch norms are in its convolutions, as far as that changes no map that it returns.

    Args:
        network: In evaluation mode; stays as it is.
        pixels: What it is tried on, (N,3,H,W), of which a part of the first image is enough.

    Returns:
        The other form, which shares all but the folded kernels with the network; None if there is nothing to fold, the
        network can't be copied, or a map would be another one, as where it returns a convolution's own output.
    """
    if getattr(network, "keeps_tensors", False):
        return None
    part = pixels[:1, :, :_SIDE, :_SIDE]
    try:
        pairs = _pairs(network, part)
        if not pairs:
            return None
        form = sharing_tensors(network)
        for conv, norm in pairs:
            _fold(form, conv, norm)
        # Another image, and the new form first: hooks of the old one could still hold maps of the image before.
        mirrored = part.flip(-1)
        output: SegOutput = form(mirrored)
        return form if _agree(output, network(mirrored)) else None
    except Exception:  # whatever somebody's network does when it is copied or given a part of an image
        return None


def _pairs(network: nn.Module, pixels: Tensor) -> list[tuple[str, str]]:
    """The names of convolutions and of the norms that read just what these return, in a pass; each runs once in it."""
    producers: dict[int, str] = {}
    outputs: list[Tensor] = []  # kept, or another one could get the number of one that is gone
    pairs: list[tuple[str, str]] = []
    calls: Counter[str] = Counter()

    def note_output(name: str, output: Tensor) -> None:
        calls[name] += 1
        outputs.append(output)
        producers[id(output)] = name

    def note_input(name: str, x: Tensor) -> None:
        calls[name] += 1
        if id(x) in producers:
            pairs.append((producers[id(x)], name))

    hooks: list[RemovableHandle] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(lambda _, inputs, y, name=name: note_output(name, y)))
        elif type(module) in (nn.BatchNorm2d, BatchNorm, BatchNormAct2d) and module.running_mean is not None:
            hooks.append(module.register_forward_pre_hook(lambda _, inputs, name=name: note_input(name, inputs[0])))
    try:
        network(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in pairs if all(calls[name] == 1 for name in pair)]


def _fold(network: nn.Module, conv_name: str, norm_name: str) -> None:
    """Move a norm into a convolution; in its place stays what else it did."""
    conv, norm = network.get_submodule(conv_name), network.get_submodule(norm_name)
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    conv.weight, conv.bias = weight.requires_grad_(False), bias.requires_grad_(False)
    rest = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
    network.set_submodule(norm_name, rest.eval())


def _agree(output: SegOutput, other: SegOutput) -> bool:
    """Whether all maps are equal but for rounding."""
    maps = [(getattr(output, name), getattr(other, name)) for name in ("logits", "embedding")]
    maps += zip(output.features, other.features, strict=True)
    return all(float((one - two).norm()) <= _TOLERANCE * float(two.norm()) for one, two in maps)
