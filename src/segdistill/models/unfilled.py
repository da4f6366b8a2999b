"""Making a network without drawing its random weights: for one that is filled at once, or whose shapes alone count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

_RANDOM = {Tensor.normal_, Tensor.uniform_, Tensor.erfinv_}
_ADJUSTED = {Tensor.clamp_, Tensor.mul_, Tensor.add_}
"""What initialisations do with random numbers then; on "meta" it takes longer than making the tensors."""


class Unfilled(TorchFunctionMode):
    """While entered, tensors are not filled with random numbers, and keep what their memory happens to hold."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _RANDOM or (func in _ADJUSTED and args[0].is_meta):
            return args[0]
        return func(*args, **(kwargs or {}))
