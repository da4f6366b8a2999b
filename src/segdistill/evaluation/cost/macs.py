"""Multiply-adds of a network, operation by operation, as the papers count them.

The rules (fvcore's, which mmengine shares and the published tables follow; a multiply-add counts 1):

    convolution                       output elements * (Cin / groups * kh * kw), bias free
    linear, matmul, attention         multiply-adds of the matrix products, bias and softmax free
    batch norm                        2 * elements
    layer and group norm              5 * elements
    bilinear resize                   4 * output elements, also to the same size
    nearest resize                    1 * output elements
    average pooling to a given size   input elements
    max-pooling, activations, additions, softmax, dropout, concatenation   0

The operations are seen below autograd, whatever module or function made them, on any device, fake ones included.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

from segdistill.evaluation.cost.stages import Stages
from segdistill.models.layers import AdaptiveAveragePool, Resize

Kind = Literal["conv", "matmul", "norm", "pool", "resize"]
KINDS: tuple[Kind, ...] = ("conv", "matmul", "norm", "pool", "resize")
Convention = Literal["paper", "conv"]
CONVENTIONS: dict[Convention, tuple[Kind, ...]] = {"paper": KINDS, "conv": ("conv", "matmul")}
EXPLAINED: dict[Convention, str] = {
    "paper": "multiply-adds (1 each) of convolutions and matrix products; batch norm 2, layer norm 5, bilinear resize "
    "4 an element, average pooling 1 an input element; to class scores at the image's size",
    "conv": "multiply-adds (1 each) of convolutions and matrix products only",
}

aten = torch.ops.aten
Rule = Callable[[tuple[Any, ...], Any], int]


def _convolution(args: tuple[Any, ...], out: Tensor) -> int:
    x, weight, transposed = args[0], args[1], args[6]
    return int((x if transposed else out).numel() * weight[0].numel())


def _mm(args: tuple[Any, ...], out: Tensor) -> int:
    return int(args[0].shape[-1] * out.numel())


def _addmm(args: tuple[Any, ...], out: Tensor) -> int:
    return int(args[1].shape[-1] * out.numel())


def _attention(args: tuple[Any, ...], out: Any) -> int:
    """softmax(q k^T) v for q (..,L,E), k (..,S,E), v (..,S,V)."""
    query, key, value = args[:3]
    length, keys = query.shape[-2], key.shape[-2]
    return int(math.prod(query.shape[:-2]) * length * keys * (query.shape[-1] + value.shape[-1]))


def _a_map(args: tuple[Any, ...]) -> bool:
    """Whether `mean` averages height and width of (N,C,H,W); pooling to 1x1 arrives as that."""
    return len(args) > 1 and args[0].ndim == 4 and sorted(dim % 4 for dim in args[1] or ()) == [2, 3]


def _input_elements(times: int) -> Rule:
    return lambda args, out: times * int(args[0].numel())


def _output_elements(times: int) -> Rule:
    return lambda args, out: times * int(out.numel())


RULES: dict[Any, tuple[Kind, Rule]] = {
    aten.convolution: ("conv", _convolution),
    aten.mm: ("matmul", _mm),
    aten.bmm: ("matmul", _mm),
    aten.mv: ("matmul", _mm),
    aten.addmm: ("matmul", _addmm),
    aten.baddbmm: ("matmul", _addmm),
    aten._scaled_dot_product_flash_attention_for_cpu: ("matmul", _attention),
    aten._scaled_dot_product_flash_attention: ("matmul", _attention),
    aten._scaled_dot_product_efficient_attention: ("matmul", _attention),
    aten._scaled_dot_product_cudnn_attention: ("matmul", _attention),
    aten.native_batch_norm: ("norm", _input_elements(2)),
    aten.cudnn_batch_norm: ("norm", _input_elements(2)),
    aten.miopen_batch_norm: ("norm", _input_elements(2)),
    aten._native_batch_norm_legit: ("norm", _input_elements(2)),
    aten._native_batch_norm_legit_no_training: ("norm", _input_elements(2)),
    aten._batch_norm_with_update: ("norm", _input_elements(2)),
    aten._batch_norm_no_update: ("norm", _input_elements(2)),
    aten.native_layer_norm: ("norm", _input_elements(5)),
    aten.native_group_norm: ("norm", _input_elements(5)),
    aten._adaptive_avg_pool2d: ("pool", _input_elements(1)),
    aten.mean: ("pool", lambda args, out: int(args[0].numel()) if _a_map(args) else 0),
    aten.upsample_bilinear2d: ("resize", _output_elements(4)),
    aten.upsample_nearest2d: ("resize", _output_elements(1)),
}


class MacCounter(TorchDispatchMode):
    """While entered, adds up the multiply-adds of what runs, by stage and kind.

    Our `AdaptiveAveragePool` counts as the pooling it is, though it computes matrix products; our `Resize` counts as a
    bilinear resize even to the size a map has already, as in the published tables, though it then does nothing.

    Args:
        stages: entered before this, they tell which stage runs.
    """

    def __init__(self, stages: Stages) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: dict[str, Counter[Kind]] = {}
        self._stages = stages
        self._pools = 0
        self._hooks: list[RemovableHandle] = []

    def total(self, convention: Convention = "paper") -> int:
        """Multiply-adds in all.

        Args:
            convention: which operations count.

        Returns:
            Their number, a multiply-add counted as 1.
        """
        return sum(kinds[kind] for kinds in self.counts.values() for kind in CONVENTIONS[convention])

    def by_kind(self) -> dict[Kind, int]:
        """Multiply-adds of each kind of operation."""
        return {kind: sum(kinds[kind] for kinds in self.counts.values()) for kind in KINDS}

    def __enter__(self) -> MacCounter:
        for module in self._stages.network.modules():
            if isinstance(module, AdaptiveAveragePool):
                self._hooks.append(module.register_forward_pre_hook(self._pool_begins))
                self._hooks.append(module.register_forward_hook(self._pool_ends))
            elif isinstance(module, Resize):
                self._hooks.append(module.register_forward_hook(self._resized))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        rule = RULES.get(func._overloadpacket)
        if rule is not None and not self._pools:
            kind, count = rule
            self._add(kind, count(args, out))
        return out

    def _add(self, kind: Kind, count: int) -> None:
        self.counts.setdefault(self._stages.current, Counter())[kind] += count

    def _pool_begins(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._add("pool", inputs[0].numel())
        self._pools += 1

    def _pool_ends(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._pools -= 1

    def _resized(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        if output is inputs[0]:
            self._add("resize", 4 * output.numel())
