"""Refuses scores and weights that are not finite: no class can be read off a NaN."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from segdistill.core.errors import SegdistillError
from segdistill.core.outputs import SegOutput

# Networks of other libraries keep what flows through them until the end of a pass: of two threads one would read the
# other's maps. A processor or a GPU gains nothing by two passes at once.
_ONE_PASS = Lock()
_LARGEST = 1e30  # what is interpolated and summed over windows and views must not overflow float32, at 3.4e38


class NonFiniteScoresError(SegdistillError):
    """A network gives an image scores that are NaN, infinite or too large to be interpolated and averaged."""


def finite_scores(network: nn.Module, names: Sequence[str], source: str) -> Callable[[Tensor], Tensor]:
    """A function that runs the network and checks its logits as they are, before interpolation spreads a NaN.

    Args:
        network: returns `SegOutput`.
        names: of the images in the batch; one name where all rows of the batch are windows of one image.
        source: the network in words, or its weight file; it begins the message.

    Returns:
        A function from pixels (B,3,H,W), float32 in [0,1], to logits (B,K,h,w), for any number of threads. It raises
        `NonFiniteScoresError`.
    """

    def scores_of(pixels: Tensor) -> Tensor:
        with _ONE_PASS:
            output: SegOutput = network(pixels)
        require_finite_scores(network, output.logits, pixels, names, source)
        return output.logits

    return scores_of


def require_finite_scores(
    network: nn.Module, logits: Tensor, pixels: Tensor, names: Sequence[str], source: str
) -> None:
    """Refuse logits (B,K,h,w) that the network gave for pixels (B,3,H,W) if any is NaN, infinite or beyond 1e30.

    Args:
        network: whose weights are searched for the cause.
        logits: (B,K,h,w), of any floating-point type.
        pixels: (B,3,H,W).
        names, source: as for `finite_scores`.

    Raises:
        NonFiniteScoresError: naming the image, the network, the first such score and what to try.
    """
    # aminmax passes a NaN on, and a NaN fails every comparison: one pass, no mask of the size of the logits.
    low, high = torch.aminmax(logits.detach())
    if not torch.maximum(-low, high) <= _LARGEST:
        _refuse(network, logits, pixels, names, source)


def first_not_finite(state: Mapping[str, Any]) -> str | None:
    """The first tensor of a state dict that holds NaN or an infinity.

    Args:
        state: values by name; what is no floating-point tensor is passed over.

    Returns:
        Its name; None if there is none.
    """
    for name, value in state.items():
        if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
            return name
    return None


def _refuse(network: nn.Module, logits: Tensor, pixels: Tensor, names: Sequence[str], source: str) -> None:
    """Raise `NonFiniteScoresError` about the first image of the batch whose logits (B,K,h,w) are not finite."""
    bad = ~(logits.abs() <= _LARGEST)  # also true for NaN
    row = int(bad.flatten(1).any(1).nonzero()[0])
    positions = bad[row].any(0)
    y, x = positions.nonzero()[0].tolist()
    value = float(logits.detach()[row, :, y, x][bad[row, :, y, x]][0])
    name = names[0] if len(names) == 1 else names[row]
    grid, size = ("x".join(map(str, maps.shape[-2:])) for maps in (logits, pixels))
    broken = first_not_finite(network.state_dict())
    cause = (
        f"Tensor '{broken}' of its weights is not finite: take an earlier checkpoint or other weights."
        if broken
        else "Its weights are finite, so something overflows for this image: look at the image and at the network's "
        "mean and std, or train it again with a lower learning rate, clip_grad=10 or precision=fp32."
    )
    raise NonFiniteScoresError(
        f"{source}: the scores of image '{name}' are not finite at {int(positions.sum())} of {positions.numel()} "
        f"positions of the network's {grid} output for {size} pixels (height x width); the first is {value:g} at row "
        f"{y}, column {x}. Classes can't be read off them. {cause}"
    )
