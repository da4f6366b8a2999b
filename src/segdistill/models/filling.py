"""Filling a module with tensors of a file, all of them or an error that lists what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from segdistill.core.errors import CheckpointError, listed

_SHOWN = 8


def fill(module: nn.Module, tensors: Mapping[str, Tensor], source: str, *, may_differ: Sequence[str] = ()) -> None:
    """Load `tensors` into `module`; strict, but for the names that begin with one of `may_differ`.

    Args:
        module: The network; it is left as it was if anything does not fit.
        tensors: Its state dict, as a file holds it.
        source: The file, for the error.
        may_differ: Beginnings of names. Such a tensor is left as it is where the file's has another shape or is not
            there, and dropped where it is surplus.

    Raises:
        CheckpointError: A tensor is missing, surplus or of another shape; all of them are counted, the first listed.
    """
    expected = module.state_dict()
    free = tuple(may_differ)
    checked = sorted(key for key in expected.keys() | tensors.keys() if not key.startswith(free))
    faults = [f"missing {key}" for key in checked if key not in tensors]
    faults += [f"surplus {key}" for key in checked if key not in expected]
    faults += [
        f"{key} is {tuple(tensors[key].shape)}, the network has {tuple(expected[key].shape)}"
        for key in checked
        if key in tensors and key in expected and tensors[key].shape != expected[key].shape
    ]
    if faults:
        raise CheckpointError(
            f"{source} holds another network ({len(faults)} tensors do not fit):\n  {listed(faults, _SHOWN)}"
        )
    fitting = {key: value for key, value in tensors.items() if key in expected and value.shape == expected[key].shape}
    module.load_state_dict(fitting, strict=False)
