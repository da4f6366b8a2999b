"""A network whose first layers and whose last one compute in float32 while the rest is rounded.

What is rounded early goes through every layer after it, and what is rounded last are the scores themselves. Most of the
work is done between, on many channels: so float32 at both ends keeps most of the classes, and costs little time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.models.copies import sharing_tensors

_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class ExactEnds(nn.Module):
    """A form of a network, which shares its tensors, for passes under autocast.

    Args:
        network: Returns `SegOutput`; stays as it is.
        pixels: What the order of its layers is found with, (N,3,H,W).
        share: Of its convolutions and linear layers, by number: the first ones that compute in float32. So does the
            last one.

    Raises:
        Exception: Whatever the network raises when it is copied; `exact_ends` returns None then.
    """

    def __init__(self, network: nn.Module, pixels: Tensor, share: float) -> None:
        super().__init__()
        self.share = share
        self.network = sharing_tensors(network)
        layers = _in_order(self.network, pixels)
        for layer in [*layers[:-1][: round(share * len(layers))], *layers[-1:]]:
            layer.forward = partial(_exactly, layer.forward)

    def forward(self, image: Tensor) -> SegOutput:
        """The network's output.

        Args:
            image: RGB (N,3,H,W) in [0,1].

        Returns:
            The network's.
        """
        output: SegOutput = self.network(image)
        return output

    def extra_repr(self) -> str:
        """What tells forms of one network apart where times are remembered."""
        return f"share={self.share}"


def exact_ends(network: nn.Module, pixels: Tensor, share: float) -> ExactEnds | None:
    """An `ExactEnds`, or None where the network can't be copied.

    Args:
        network, pixels, share: As there.

    Returns:
        The form.
    """
    try:
        return ExactEnds(network, pixels, share)
    except Exception:  # whatever somebody's network does when it is copied
        return None


def _exactly(forward: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
    with torch.autocast(value.device.type, enabled=False):
        return forward(value.float())


@torch.no_grad()
def _in_order(network: nn.Module, pixels: Tensor) -> list[nn.Module]:
    """The layers that a pass calls, each once, in the order of their first calls."""
    called: dict[nn.Module, None] = {}
    hooks = [
        each.register_forward_pre_hook(lambda layer, _: called.setdefault(layer))
        for each in network.modules()
        if isinstance(each, _LAYERS)
    ]
    try:
        network(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    return list(called)
