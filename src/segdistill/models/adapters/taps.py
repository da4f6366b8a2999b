"""Taps: what flows into and out of a module inside a network, and the feature maps in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from segdistill.core.errors import RecipeError, nearest


class Tap:
    """Remembers the last input and output of a module between two calls of `clear`.

    A forward hook that is an object, not a closure: a deep copy of the network has a new tap.

    Args:
        module: What it is put on.
    """

    def __init__(self, module: nn.Module) -> None:
        self.input: Any = None
        self.output: Any = None
        module.register_forward_hook(self, with_kwargs=True)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        self.input = args[0] if args else next(iter(kwargs.values()), None)
        self.output = output

    def clear(self) -> None:
        """Let go of the tensors."""
        self.input = self.output = None


def submodule(module: nn.Module, path: str) -> nn.Module:
    """A part of a network.

    Args:
        module: The network.
        path: As in `named_modules`.

    Raises:
        RecipeError: There is none; the message suggests the nearest path.
    """
    modules = dict(module.named_modules())
    if path not in modules or not path:
        raise RecipeError(
            f"{type(module).__name__} has no module '{path}'.{nearest(path, (key for key in modules if key))}"
        )
    inner: nn.Module = modules[path]
    return inner


def scores_in(output: Any) -> Tensor:
    """The class scores in what a network returns.

    Args:
        output: A tensor, an object with .logits, a mapping with 'out' or 'logits', or a list or tuple whose first is
            the scores.

    Returns:
        The scores, of whatever shape.

    Raises:
        RecipeError: It is none of these.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(getattr(output, "logits", None), Tensor):
        return output.logits  # type: ignore[no-any-return]
    if isinstance(output, Mapping):
        for key in ("out", "logits"):
            if key in output:
                return scores_in(output[key])
        raise RecipeError(
            f"The network returns a mapping with {', '.join(map(str, output))}; expected the scores as 'out' or "
            "'logits'. Wrap it in a module that returns the scores."
        )
    if isinstance(output, list | tuple) and output:
        return scores_in(output[0])
    raise RecipeError(
        f"The network returns {type(output).__name__}; expected class scores: a tensor, a tuple or list whose first is "
        "the scores, a mapping with 'out' or 'logits', or an object with .logits."
    )


def maps_in(value: Any) -> Iterator[Tensor]:
    """All feature maps in nested lists, tuples and mappings.

    Args:
        value: What a module takes or gives.

    Yields:
        Maps (N,C,h,w) in the order they stand there; other values are passed over.
    """
    if isinstance(value, Tensor):
        if value.ndim == 4 and value.shape[1] > 0:  # smp's Mix Transformers hold a map of no channels
            yield value
    elif isinstance(value, Mapping):
        yield from maps_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from maps_in(item)


def as_map(value: Tensor, image: tuple[int, int], *, channels_last: bool) -> Tensor:
    """What a module gives as a map.

    Args:
        value: (N,C,h,w); with `channels_last` (N,h,w,C), or tokens (N,L,C).
        image: H,W. The grid h,w of L tokens is the one whose aspect ratio is nearest to the image's.
        channels_last: Whether C is the last dimension.

    Returns:
        (N,C,h,w).

    Raises:
        RecipeError: The shape is another, or the tokens form no grid.
    """
    if value.ndim == 4:
        return value.permute(0, 3, 1, 2) if channels_last else value
    if value.ndim != 3 or not channels_last:
        raise RecipeError(f"Expected a map N,C,h,w or tokens N,L,C, found a tensor of shape {tuple(value.shape)}.")
    height, width = token_grid(value.shape[1], image)
    grid: Tensor = value.transpose(1, 2).unflatten(2, (height, width))
    return grid


def token_grid(tokens: int, image: tuple[int, int]) -> tuple[int, int]:
    """The grid that tokens stand in: that of all with so many places whose aspect ratio is nearest to the image's.

    Args:
        tokens: Their number L.
        image: H,W.

    Returns:
        (h,w) with h w = L.

    Raises:
        RecipeError: The nearest is further from the image's than a factor of two.
    """
    ratio = math.log(image[0] / image[1])
    gaps = {h: abs(math.log(h * h / tokens) - ratio) for h in range(1, tokens + 1) if tokens % h == 0}
    height = min(gaps, key=gaps.__getitem__)
    if gaps[height] > math.log(2):
        raise RecipeError(
            f"{tokens} tokens form no grid of the shape of a {image[0]}x{image[1]} image. Are there class or register "
            "tokens among them? Name a module after they are dropped, or one that works on maps."
        )
    return height, tokens // height
