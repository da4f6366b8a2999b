"""Filling a module with found tensors, where only named parts may differ."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segdistill.core.errors import CheckpointError


def fill(module: nn.Module, found: dict[str, Tensor], source: str, *, may_differ: Sequence[str] = ()) -> None:
    """Load `found` into `module`; strict, but for the tensors whose names begin with one of `may_differ`.

    Those are left as they are where the file's have another shape or are not there, and dropped where surplus.
    """
    wanted = module.state_dict()
    free = tuple(may_differ)
    fitting = {key: value for key, value in found.items() if key in wanted and value.shape == wanted[key].shape}
    faults = [f"missing {key}" for key in wanted if key not in found and not key.startswith(free)]
    faults += [f"surplus {key}" for key in found if key not in wanted and not key.startswith(free)]
    faults += [
        f"{key} is {tuple(found[key].shape)}, the network has {tuple(wanted[key].shape)}"
        for key in wanted
        if key in found and key not in fitting and not key.startswith(free)
    ]
    if faults:
        shown = "\n  ".join(faults[:8] + ([f"... and {len(faults) - 8} more"] if len(faults) > 8 else []))
        raise CheckpointError(f"{source} holds another network ({len(faults)} tensors do not fit):\n  {shown}")
    module.load_state_dict(fitting, strict=False)
