"""Networks that are handed in as objects, not by name: how a recipe holds them, and what it can say of them."""

from __future__ import annotations

import copy
import re
import zlib
from typing import cast
from weakref import WeakValueDictionary

import torch
from torch import nn

from segdistill.core.errors import CheckpointError, RecipeError
from segdistill.models.adapters.live import Live
from segdistill.models.spec import NetworkSpec

_SESSION: WeakValueDictionary[str, nn.Module] = WeakValueDictionary()
"""Name and structure of a network that was handed in -> the network, while it lives: this session can read back the run
folders that it made."""


def live_spec(module: nn.Module, *, trained: bool = False) -> NetworkSpec:
    """A network that was handed in, as a recipe holds it. What is run later is a copy; the module is left alone.

    Args:
        module: Any module that scores classes, or a `SegmentationNetwork`.
        trained: Whether its weights are part of what it is, as of a teacher; a student only begins with them.

    Returns:
        The spec, which holds the module. What is written of it says its class and a checksum of its structure, and of
        its weights if it is `trained`.
    """
    name = f"{Live.prefix}:{type(module).__module__}.{type(module).__qualname__.replace('<locals>.', '')}"
    options = {"structure": _structure(module)}
    _SESSION[f"{name} {options['structure']}"] = module
    if trained:
        options["weights"] = _weights(module)
    spec = NetworkSpec(name=name, options=options)
    spec._module = module
    return spec


def is_live(spec: object) -> bool:
    """Whether a spec is of a network that was handed in as an object.

    Args:
        spec: Of a network, or what stands in its place.
    """
    return isinstance(spec, NetworkSpec) and str(spec.name).startswith(f"{Live.prefix}:")


def with_module(spec: NetworkSpec, module: nn.Module) -> NetworkSpec:
    """The spec of a network that was handed in once, with the module handed in again.

    Args:
        spec: As a run folder holds it.
        module: Of the same class and structure.

    Returns:
        The spec, which holds the module.

    Raises:
        CheckpointError: It is another network.
    """
    now = live_spec(module)
    if (spec.name, spec.options.get("structure")) != (now.name, now.options["structure"]):
        raise CheckpointError(
            f"The network was {spec.name} when it was trained, and what is handed in is {now.name}"
            f"{', of another structure' if spec.name == now.name else ''}. Hand in one that is made in the same way."
        )
    spec = spec.model_copy()
    spec._module = module
    return spec


def module_of(spec: NetworkSpec) -> nn.Module:
    """A copy of the network that was handed in.

    Args:
        spec: Of such a network.

    Returns:
        The copy, on the CPU.

    Raises:
        RecipeError: It was handed in to another process, or is gone.
    """
    module = spec._module
    if module is None:
        module = _SESSION.get(f"{spec.name} {spec.options.get('structure')}")
    if module is None:
        raise RecipeError(
            f"'{spec.name}' is a network that was handed in from Python as an object, which can't be read back from a "
            "file. Go on from Python and hand it in again: student=, teacher=, or load_model(RUN, module=..)."
        )
    return cast(nn.Module, copy.deepcopy(module)).cpu()


def _structure(module: nn.Module) -> str:
    """Checksum of the class, of how the module prints itself, and of the names and shapes of its tensors."""
    printed = re.sub(r" at 0x[0-9a-f]+", "", repr(module))
    shapes = [(key, tuple(value.shape), str(value.dtype)) for key, value in module.state_dict().items()]
    return f"{zlib.crc32(f'{printed} {shapes}'.encode()):08x}"


def _weights(module: nn.Module) -> str:
    """Checksum of all tensors."""
    crc = 0
    for value in module.state_dict().values():
        crc = zlib.crc32(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"
