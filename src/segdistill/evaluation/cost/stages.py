"""Which part of a network runs at the moment: what splits a cost by stage."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

OTHER = "other"
RESIZE = "resize"


def stage_of(network: nn.Module, name: str) -> str:
    """The stage of the module `name`: its topmost parent; inside a backbone, or an only child, the next one below.

    `backbone.layer1.0.conv1` belongs to `backbone.layer1`, `head.bottleneck.0` to `head`; the network itself to
    `other`. Where a backbone keeps its stages in one sequence of sequences, each of those is a stage.

    Args:
        network: the whole network.
        name: of a module of it, as in `named_modules`.

    Returns:
        The name of the stage.
    """
    parts = name.split(".")
    depth, children = 1, list(network.children())
    while len(children) == 1:
        depth, children = depth + 1, list(children[0].children())
    if parts[depth - 1 : depth] == ["backbone"]:
        depth += 1
        if depth < len(parts) and _holds_stages(network.get_submodule(".".join(parts[:depth]))):
            depth += 1
    return ".".join(parts[:depth]) or OTHER


def _holds_stages(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and all(isinstance(part, nn.Sequential) for part in module)


def stage_parameters(network: nn.Module) -> dict[str, int]:
    """How many parameters each stage has.

    Args:
        network: the whole network.

    Returns:
        Stage -> number of parameters, in the network's order.
    """
    counts: dict[str, int] = {}
    for name, parameter in network.named_parameters():
        stage = stage_of(network, name.rpartition(".")[0])
        counts[stage] = counts.get(stage, 0) + parameter.numel()
    return counts


class Stages:
    """While entered, `current` is the stage that runs.

    `other` before the network and between its modules (an image's conversion and normalisation), `resize` once the
    network has returned.

    Args:
        network: the whole network.
        on_change: called with the stage that is left and the one that is entered whenever it changes.
    """

    def __init__(self, network: nn.Module, on_change: Callable[[str, str], None] | None = None) -> None:
        self.network = network
        self.current = OTHER
        self._on_change = on_change
        self._parents: list[str] = []
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> Stages:
        self.current = OTHER
        self._parents.clear()
        for name, module in self.network.named_modules():
            self._hooks.append(module.register_forward_pre_hook(self._entering(stage_of(self.network, name))))
            self._hooks.append(module.register_forward_hook(self._leaving))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _entering(self, stage: str) -> Callable[[nn.Module, Any], None]:
        def enter(module: nn.Module, inputs: Any) -> None:
            self._parents.append(self.current)
            self._change(stage)

        return enter

    def _leaving(self, module: nn.Module, inputs: Any, output: Any) -> None:
        parent = self._parents.pop()
        self._change(parent if self._parents else RESIZE)

    def _change(self, stage: str) -> None:
        if stage != self.current:
            left, self.current = self.current, stage
            if self._on_change is not None:
                self._on_change(left, stage)
