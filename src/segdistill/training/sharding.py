"""A teacher that does not fit on a device: every process keeps a part of each of its blocks (torch's FSDP)."""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from segdistill.core.errors import RecipeError
from segdistill.runtime.processes import is_alone, own_device

_LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def require_several() -> None:
    """Refuse to share a teacher with no one.

    Raises:
        RecipeError: This is the only process.
    """
    if is_alone():
        raise RecipeError(
            "teacher.shard=true: a teacher is shared by several processes, and this is one. Start them with nproc=N "
            "or torchrun, or leave teacher.shard out."
        )


def shard(teacher: nn.Module) -> None:
    """Keep of every weight of a teacher one part a process, on its device, in place.

    A block is an element of a `Sequential` or of a list of modules. In a forward pass, which all processes have to make
    together, each is gathered just before its turn and let go after it: a device holds its parts and one whole block.

    Args:
        teacher: Frozen here, and put into evaluation mode.

    Raises:
        RecipeError: This is the only process.
    """
    require_several()
    device = own_device()
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    teacher.eval().requires_grad_(False)
    for block in reversed(_blocks(teacher)):  # inner ones before those that hold them
        fully_shard(block, mesh=mesh)
    fully_shard(teacher, mesh=mesh, reshard_after_forward=True)


def is_sharded(teacher: nn.Module) -> bool:
    """Whether processes keep parts of it, so that all of them have to run it together.

    Args:
        teacher: As the distiller runs it.
    """
    return isinstance(teacher, FSDPModule)


def place_teacher(teacher: nn.Module, device: torch.device, layout: torch.memory_format) -> None:
    """Move a teacher to a device; the parts of a sharded one are there already.

    Args:
        teacher: Moved in place.
        device: Where it goes.
        layout: How its kernels lie in memory.
    """
    if not is_sharded(teacher):
        teacher.to(device, memory_format=layout)  # type: ignore[call-overload]


def _blocks(network: nn.Module) -> list[nn.Module]:
    """The elements of all lists of modules that have weights; outer ones first."""
    lists = [module for module in network.modules() if isinstance(module, _LISTS)]
    blocks = [block for each in lists for block in each.children() if not isinstance(block, _LISTS)]
    return [block for block in dict.fromkeys(blocks) if next(block.parameters(), None) is not None]
