"""How much memory the activations of a network take, counted tensor by tensor."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segdistill.evaluation.cost.stages import Stages


class LiveBytes(TorchDispatchMode):
    """While entered, follows the bytes of all tensors that operations have made and that still live.

    Exact for tensors: views and in-place results share what they show, and a tensor counts until its memory is
    released. Not seen: the workspace inside an operation's kernel, the network's weights, an allocator's slack.
    peaks: stage -> most bytes alive while it ran.

    Args:
        stages: entered before this, they tell which stage runs.
    """

    def __init__(self, stages: Stages) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peaks: dict[str, int] = {}
        self._stages = stages
        self._alive: dict[int, weakref.ref[Any]] = {}
        self._bytes = 0

    @property
    def peak(self) -> int:
        """Most bytes alive at once."""
        return max(self.peaks.values(), default=0)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:  # a view of a weight is no activation
            for tensor in tree_leaves(out):
                if isinstance(tensor, Tensor):
                    self._made(tensor)
        return out

    def _made(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive[key] = weakref.ref(storage, lambda _: self._released(key, size))
            self._bytes += size
        stage = self._stages.current
        self.peaks[stage] = max(self.peaks.get(stage, 0), self._bytes)

    def _released(self, key: int, size: int) -> None:
        del self._alive[key]
        self._bytes -= size


def saved_for_backward(network: nn.Module, image: Tensor) -> int:
    """Bytes that a forward pass keeps for the backward pass, weights left out.

    The network's running statistics stay as they are.

    Args:
        network: in the mode it is to run in.
        image: pixels (N,3,H,W), float32.

    Returns:
        Bytes of all N images.
    """
    sizes: dict[int, tuple[Any, int]] = {}  # with the storage, lest another tensor gets its address

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            sizes[storage._cdata] = (storage, storage.nbytes())
        return tensor

    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        torch.func.functional_call(network, buffers, (image,))
    return sum(size for _, size in sizes.values())
