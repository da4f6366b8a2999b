"""Where in a network a number that is not finite first arises, forward or backward."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Spot:
    """A module at which a number is not finite.

    Attributes:
        module: Its path, after the name of its network.
        kind: The name of its class.
        way: "forward", or "backward" for its gradient.
        share: Of its numbers that are not finite.
        given: Whether what it was given was not finite already, so that it arises just before it.
        largest: The largest finite magnitude that it was given.
        call: How often its network had run before.
        rows: Of the batch, that are not finite.
    """

    module: str
    kind: str
    way: str
    share: float
    given: bool
    largest: float
    call: int = 0
    rows: tuple[int, ...] = ()

    def __str__(self) -> str:
        where = f"just before {self.module} ({self.kind})" if self.given else f"in {self.module} ({self.kind})"
        if self.way == "backward":
            return f"in the backward pass, {where}"
        size = f"the largest magnitude it was given is {self.largest:.4g}"
        return f"{where}: {100 * self.share:.1f} % of its output; {size}"


@dataclass
class Trace:
    """Where a number that is not finite first arises.

    Attributes:
        forward: The first such module of the forward passes, if any.
        backward: The first such of the backward pass, if any.
        images: Of the batch at hand.
        calls: How often each network has run before.
    """

    forward: Spot | None = None
    backward: Spot | None = None
    images: int = field(default=0, repr=False)
    calls: dict[str, int] = field(default_factory=dict, repr=False)
    _fine: Spot | None = field(default=None, repr=False)  # the module whose gradient was looked at last, and finite


@contextlib.contextmanager
def traced(networks: Mapping[str, nn.Module]) -> Iterator[Trace]:
    """While entered, watch the modules of networks. Waits for the device at every module: for looking, not training.

    Args:
        networks: By the names that they are called by.

    Yields:
        What has been found so far.
    """
    trace = Trace(calls=dict.fromkeys(networks, -1))
    handles = [
        module.register_forward_hook(_forward(trace, name, path))
        for name, network in networks.items()
        for path, module in network.named_modules()
    ]
    handles += [network.register_forward_pre_hook(_counting(trace, name)) for name, network in networks.items()]
    try:
        yield trace
    finally:
        for handle in handles:
            handle.remove()


def _counting(trace: Trace, network: str) -> Callable[[nn.Module, Any], None]:
    def count(module: nn.Module, given: Any) -> None:
        trace.calls[network] += 1
        trace.images = len(next(tensors(given)))

    return count


def _forward(trace: Trace, network: str, path: str) -> Callable[[nn.Module, Any, Any], None]:
    name = f"{network}.{path}" if path else network

    def look(module: nn.Module, given: Any, made: Any) -> None:
        kind = type(module).__name__
        call = trace.calls[network]
        if trace.forward is None and (bad := _share(made)):
            rows = _rows(made, trace.images)
            trace.forward = Spot(name, kind, "forward", bad, _share(given) > 0, _largest(given), call, rows)
        if not any(True for _ in module.children()):  # the others' output is that of one of their parts
            for tensor in tensors(made):
                if tensor.requires_grad:
                    tensor.register_hook(_backward(trace, name, kind, call))

    return look


def _backward(trace: Trace, name: str, kind: str, call: int) -> Callable[[Tensor], None]:
    """The gradient of a module's output: finite, it is remembered; else what made it is the module remembered."""

    def look(gradient: Tensor) -> None:
        share = _share(gradient)
        if trace.backward is not None:
            return
        if not share:
            trace._fine = Spot(name, kind, "backward", 0.0, False, _largest(gradient), call)
        elif trace._fine is None:  # the loss itself
            trace.backward = Spot(name, kind, "backward", share, True, 0.0, call, _rows(gradient, trace.images))
        else:
            trace.backward = dataclasses.replace(trace._fine, share=share, rows=_rows(gradient, trace.images))

    return look


def tensors(value: Any) -> Iterator[Tensor]:
    """All floating-point tensors in what a module takes or gives.

    Args:
        value: A tensor, or a mapping, sequence or dataclass of such, nested.

    Yields:
        The tensors.
    """
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors(each)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for part in dataclasses.fields(value):
            yield from tensors(getattr(value, part.name))


def _share(value: Any) -> float:
    counts = [(int((~tensor.isfinite()).sum()), tensor.numel()) for tensor in tensors(value)]
    return sum(bad for bad, _ in counts) / max(1, sum(number for _, number in counts))


def _rows(value: Any, images: int) -> tuple[int, ...]:
    """Along the first axis of the first tensor, if that has as many as there are images."""
    first = next(tensors(value))
    if first.ndim < 2 or len(first) != images:
        return ()
    return tuple((~first.isfinite()).flatten(1).any(1).nonzero().flatten().tolist())


def _largest(value: Any) -> float:
    sizes = [
        torch.where(tensor.isfinite(), tensor.detach(), 0).abs().amax() for tensor in tensors(value) if tensor.numel()
    ]
    return max((float(size) for size in sizes), default=0.0)
