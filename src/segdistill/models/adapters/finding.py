"""Where a network makes its class scores: it is run once to see which module gives them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.errors import RecipeError
from segdistill.models.adapters.taps import ScoreLayout, arrange, as_map, score_layout, scores_in, submodule
from segdistill.models.probing import evaluating, try_images

OUTPUT = "output"
"""As `classifier`: the scores that the network returns, also as its embedding."""


@dataclass(frozen=True)
class ScoreLocation:
    """The modules that make the scores of a network with K = `num_classes` classes.

    Attributes:
        num_classes: K.
        scores: Path of the module whose output is the logits, None for what the network returns.
        embedding: Path of the module whose input is the embedding, None for the logits themselves.
        channels_last: Whether that module works on tokens (N,L,C) or maps (N,h,w,C).
        divisor: What the sides of an image must be multiples of.
        layout: Of what the network returns.
        sigmoid: Whether there is one channel, the score of a sigmoid, which is two classes.
    """

    num_classes: int
    scores: str | None
    embedding: str | None
    channels_last: bool
    divisor: int
    layout: ScoreLayout = "N,K,H,W"
    sigmoid: bool = False


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

    def run(image: Tensor) -> Any:
        calls.clear()
        return module(image)

    with _recording(module, calls), evaluating(module), torch.no_grad():
        like = next(module.parameters(), torch.zeros(()))
        tried = try_images(run, type(module).__name__, like, divisor=divisor, size=size)
    image, divisor = tried.image, tried.divisor
    returned = scores_in(tried.output, num_classes)
    layout = score_layout(returned, num_classes, image)
    if layout is None:
        raise RecipeError(
            f"{type(module).__name__} returns scores of shape {tuple(returned.shape)}, expected "
            f"N,{num_classes or 'K'},H,W. Make the network with the number of classes of the data set."
        )
    scores = arrange(returned, layout)
    channels = scores.shape[1]
    if explicit is not None:
        path, embedding, channels_last = _explicit(module, explicit, calls, channels)
    elif classifier is not None:  # the network's output, asked for by name
        path, embedding, channels_last = None, None, False
    else:
        path, embedding, channels_last = _search(module, scores, _score_maps(module, calls, image, channels, exclude))
    if _are_shares(scores if path is None else calls[path]):
        raise RecipeError(
            f"{type(module).__name__} returns numbers between 0 and 1, as after a sigmoid or softmax: return the "
            "scores before it, which distillation compares; or name the module that gives them with classifier=PATH."
        )
    return ScoreLocation(max(2, channels), path, embedding, channels_last, divisor, layout, sigmoid=channels == 1)


def _search(module: nn.Module, scores: Tensor, maps: dict[str, Tensor]) -> tuple[str | None, str, bool]:
    """Where `scores` (N,K,H,W) come from, among the `maps` of submodules; the fields of `ScoreLocation`."""
    count = scores.shape[1]
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
    return source, embedding, isinstance(module.get_submodule(embedding), nn.Linear)


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


def _are_shares(scores: Tensor) -> bool:
    """Whether scores seem to be probabilities: they differ, and all are between 0 and 1."""
    low, high = float(scores.min()), float(scores.max())
    return 0 <= low < high <= 1


def _explicit(module: nn.Module, path: str, calls: dict[str, Tensor], count: int) -> tuple[str, str, bool]:
    """That the module at `path` gives scores of `count` classes; the fields of `ScoreLocation`."""
    value = calls.get(path)
    if value is None or not _holds(value, count):
        actual = "nothing (it did not run)" if value is None else f"{tuple(value.shape)}"
        raise RecipeError(f"Module '{path}' gives {actual}, expected scores of {count} classes. Name the classifier.")
    return path, path, _on_tokens(module, path, value, count)


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
    """Whether `scores` are `value`, as they are or resized, before or after a softmax or sigmoid."""
    size = (scores.shape[-2], scores.shape[-1])
    after = (form for resized in _resized(value, size) for form in _forms(resized))
    before = (resized for form in _forms(value)[1:] for resized in _resized(form, size))
    return any(_close(scores, each) for each in itertools.chain(after, before))


def _forms(maps: Tensor) -> tuple[Tensor, ...]:
    several = () if maps.shape[1] == 1 else (maps.log_softmax(1), maps.softmax(1))
    return maps, *several, maps.sigmoid()


def _resized(value: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    if tuple(value.shape[-2:]) == size:
        yield value
        return
    value = value.float()
    yield F.interpolate(value, size, mode="bilinear", align_corners=False)
    yield F.interpolate(value, size, mode="bilinear", align_corners=True)
    yield F.interpolate(value, size, mode="nearest")
    yield F.interpolate(value, size, mode="bicubic", align_corners=False)


def _close(a: Tensor, b: Tensor) -> bool:
    scale = float(a.float().abs().max())
    return torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-4 * scale)


def _last(module: nn.Module) -> str:
    paths = [path for path, inner in module.named_modules() if path and not list(inner.children())]
    return "its last modules are " + ", ".join(paths[-4:]) if paths else "it has no submodules"
