"""Where a network makes its class scores: it is run once to see which module gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.errors import RecipeError
from segdistill.models.adapters.taps import as_map, scores_in, submodule

OUTPUT = "output"
"""As `classifier`: the scores that the network returns, also as its embedding."""

_DIVISORS = (1, 2, 4, 8, 16, 32, 64)
_LEAST = (69, 101)


@dataclass(frozen=True)
class ScoreLocation:
    """The modules that make the scores of a network with K = `num_classes` classes.

    Attributes:
        num_classes: K.
        scores: Path of the module whose output is the logits, None for what the network returns.
        embedding: Path of the module whose input is the embedding, None for the logits themselves.
        channels_last: Whether that module works on tokens (N,L,C) or maps (N,h,w,C).
        divisor: What the sides of an image must be multiples of.
    """

    num_classes: int
    scores: str | None
    embedding: str | None
    channels_last: bool
    divisor: int


def locate_scores(
    module: nn.Module,
    num_classes: int | None,
    *,
    classifier: str | None,
    exclude: str | None,
    divisor: int | None,
    size: tuple[int, int] | None,
) -> ScoreLocation:
    """Run `module` once in evaluation mode to see where its scores come from; `ModuleNetwork` has the rules.

    Args:
        module: See `ModuleNetwork`, as for `num_classes` (K), `divisor` and `size` (H,W).
        classifier: Path of the classifier if the user names it.
        exclude: Path of the auxiliary head, which is not the classifier.

    Returns:
        The modules that make the scores.

    Raises:
        RecipeError: No layer is its classifier, the number of classes differs, or it takes no image.
    """
    calls: dict[str, Tensor] = {}
    explicit = None if classifier is None or _is_output(module, classifier) else classifier
    if explicit is not None:
        submodule(module, explicit)
    with _recording(module, calls), evaluating(module):
        image, output, divisor = _run(module, divisor, size, calls.clear)
    scores = scores_in(output)
    if scores.ndim != 4 or num_classes not in (None, scores.shape[1]):
        raise RecipeError(
            f"{type(module).__name__} returns scores of shape {tuple(scores.shape)}, expected "
            f"N,{num_classes or 'K'},H,W. Make the network with the number of classes of the data set."
        )
    count = scores.shape[1]
    if explicit is not None:
        return _explicit(module, explicit, calls, count, divisor)
    if classifier is not None:  # the network's output, asked for by name
        return ScoreLocation(count, None, None, False, divisor)
    maps = _score_maps(module, calls, image, count, exclude)
    candidates = [path for path in maps if _classifies(module.get_submodule(path), count)]
    if not candidates:
        raise RecipeError(
            f"{type(module).__name__} has no convolution or linear layer with {count} outputs, so its classifier is "
            f"not clear. Name the module whose input is the embedding with classifier=PATH ("
            f"{_last(module)}), or take the scores as the embedding with classifier={OUTPUT}."
        )
    alone = next((path for path in reversed(candidates) if _gives(scores, maps[path])), None)
    embedding = alone or candidates[-1]
    # Several classifiers may be summed, as in LR-ASPP: the first module that holds the sum has it at its stride.
    source = alone or next((path for path, value in maps.items() if _gives(scores, value)), None)
    return ScoreLocation(count, source, embedding, isinstance(module.get_submodule(embedding), nn.Linear), divisor)


def _score_maps(
    module: nn.Module, calls: dict[str, Tensor], image: tuple[int, int], count: int, exclude: str | None
) -> dict[str, Tensor]:
    """All outputs of submodules that may be scores of `count` classes, as maps (1,K,h,w), in the order they came."""
    maps = {}
    for path, value in calls.items():
        if _holds(value, count) and not (exclude and f"{path}.".startswith(f"{exclude}.")):
            with suppress(RecipeError):  # tokens that form no grid are not scores
                maps[path] = as_map(value, image, channels_last=_on_tokens(module, path, value, count))
    return maps


def _explicit(module: nn.Module, path: str, calls: dict[str, Tensor], count: int, divisor: int) -> ScoreLocation:
    value = calls.get(path)
    if value is None or not _holds(value, count):
        actual = "nothing (it did not run)" if value is None else f"{tuple(value.shape)}"
        raise RecipeError(f"Module '{path}' gives {actual}, expected scores of {count} classes. Name the classifier.")
    return ScoreLocation(count, path, path, _on_tokens(module, path, value, count), divisor)


def _run(
    module: nn.Module, divisor: int | None, size: tuple[int, int] | None, again: Callable[[], None]
) -> tuple[tuple[int, int], Any, int]:
    """The first image that the network takes (its size), what it gave, and the divisor that made it fit."""
    parameter = next(module.parameters(), torch.zeros(()))
    failure: Exception | None = None
    for multiple in (1,) if size else (divisor,) if divisor else _DIVISORS:
        height, width = size or (_odd_multiple(_LEAST[0], multiple), _odd_multiple(_LEAST[1], multiple))
        noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        again()
        try:
            with torch.no_grad():
                return (height, width), module(noise.to(parameter)), multiple
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            failure = failure or error
    tried = f"{size[0]}x{size[1]}" if size else f"{_LEAST[0]}x{_LEAST[1]}, also padded to multiples of {_DIVISORS[-1]}"
    raise RecipeError(
        f"{type(module).__name__} does not take an image of {tried}: {failure}. If it takes one size only, set "
        "size=[H,W]; if it needs multiples of something else, set divisor."
    ) from failure


def _odd_multiple(least: int, multiple: int) -> int:
    """A size that is a multiple of `multiple` and of no higher power of two."""
    return multiple * (-(-least // multiple) | 1)


@contextmanager
def _recording(module: nn.Module, calls: dict[str, Tensor]) -> Iterator[None]:
    """Note the last output of every submodule, in the order of completion."""

    def recorder(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(_module: nn.Module, _args: Any, output: Any) -> None:
            calls.pop(path, None)
            if isinstance(output, Tensor):
                calls[path] = output

        return record

    hooks = [inner.register_forward_hook(recorder(path)) for path, inner in module.named_modules() if path]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


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


def _is_output(module: nn.Module, classifier: str) -> bool:
    return classifier == OUTPUT and OUTPUT not in dict(module.named_modules())


def _classifies(module: nn.Module, count: int) -> bool:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return module.out_channels == count
    return isinstance(module, nn.Linear) and module.out_features == count


def _holds(value: Tensor, count: int) -> bool:
    """Whether the tensor looks like scores of `count` classes."""
    return (value.ndim == 4 and count in (value.shape[1], value.shape[3])) or (
        value.ndim == 3 and value.shape[2] == count
    )


def _on_tokens(module: nn.Module, path: str, value: Tensor, count: int) -> bool:
    linear = isinstance(module.get_submodule(path), nn.Linear)
    return linear or value.ndim == 3 or value.shape[1] != count


def _gives(scores: Tensor, value: Tensor) -> bool:
    """Whether `scores` are `value`, as they are or resized, before or after a softmax."""
    size = (scores.shape[-2], scores.shape[-1])
    return any(
        _close(scores, form)
        for resized in _resized(value, size)
        for form in (resized, resized.log_softmax(1), resized.softmax(1))
    )


def _resized(value: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    if tuple(value.shape[-2:]) == size:
        yield value
        return
    value = value.float()
    yield F.interpolate(value, size, mode="bilinear", align_corners=False)
    yield F.interpolate(value, size, mode="bilinear", align_corners=True)
    yield F.interpolate(value, size, mode="nearest")


def _close(a: Tensor, b: Tensor) -> bool:
    scale = float(a.float().abs().max())
    return torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-4 * scale)


def _last(module: nn.Module) -> str:
    paths = [path for path, inner in module.named_modules() if path and not list(inner.children())]
    return "its last modules are " + ", ".join(paths[-4:]) if paths else "it has no submodules"
