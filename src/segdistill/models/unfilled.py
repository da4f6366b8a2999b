"""Making a network without drawing its random weights: for one that is filled at once, or whose shapes alone count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_RANDOM = {
    Tensor.normal_, Tensor.uniform_, Tensor.erfinv_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_,
}  # fmt: skip
"""What draws. A mode sees these functions of torch.nn.init whole, and not the methods of the tensor they call."""
_ADJUSTED = {Tensor.clamp_, Tensor.mul_, Tensor.add_}
"""What initialisations do with random numbers then; on "meta" it takes longer than making the tensors."""


class skip_init(TorchFunctionMode):
    """While entered, tensors are not filled with random numbers, and keep what their memory happens to hold.

    As `torch.nn.utils.skip_init`, for whole networks, whose buffers and constant weights are filled as ever. It acts in
    this thread only; a network on "meta" that is made real later would lose the buffers that no weight file holds.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _RANDOM or (func in _ADJUSTED and args[0].is_meta):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
