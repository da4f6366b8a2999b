"""Published files of a backbone alone: ImageNet weights by the names of OpenMMLab, CIRKD and NVlabs."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from segdistill.core.errors import CheckpointError
from segdistill.models.checkpoints.cirkd import CIRKD
from segdistill.models.checkpoints.layout import Layout, State, gather
from segdistill.models.checkpoints.openmmlab import OpenMMLab
from segdistill.models.checkpoints.segformer import NVlabs

# A head that the layout knows: backbones have the same names under all of them.
_LAYOUTS: tuple[tuple[Layout, str, str], ...] = (
    (OpenMMLab(), "fcn", "backbone."),
    (CIRKD(), "pspnet", "pretrained."),
    (NVlabs(), "segformer", "backbone."),
)


def published_backbone(state: State, backbone: str, expected: State) -> dict[str, Tensor] | None:
    """The tensors of our `backbone` from a published file of it.

    Args:
        state: The tensors of the file. Names may carry the layout's prefix or not; what is left over, as the
            classifier, does not matter, but for further blocks of its stages.
        backbone: Its name.
        expected: Its state dict: names and shapes.

    Returns:
        Tensors by our names; None if no layout has them all.
    """
    prefixed = {f"backbone.{key}": value for key, value in expected.items()}
    for layout, head, prefix in _LAYOUTS:
        try:
            rules = layout.rules(backbone, head)
        except CheckpointError:
            continue
        named = {key if key.startswith(prefix) else prefix + key: value for key, value in state.items()}
        ours, faults = gather(layout, named, prefixed, rules)
        published = {piece.key for key in prefixed for piece in layout.slices(key, rules)}
        if all(fault.startswith("surplus ") for fault in faults) and not deeper_blocks(named, published):
            return {key.removeprefix("backbone."): value for key, value in ours.items()}
    return None


def deeper_blocks(names: Iterable[str], expected: Iterable[str]) -> list[str]:
    """The tensors of blocks that a network's stages lack: they are of a deeper network than it is.

    A block is numbered beside others of the network, within what is numbered itself: "layer1.2" beside "layer1.0".
    "blocks.5" beside "blocks.4" is a whole stage, which may be cut off.

    Args:
        names: Of a file's tensors.
        expected: Those of the network, by the same names.

    Returns:
        Those of further blocks, in order.
    """
    expected = {*expected}
    modules = {module for key in expected for module in _modules(key)}
    kinds = {kind for module in modules if (kind := _kind(module))}
    surplus = sorted({*names} - expected)
    return [key for key in surplus if any(each not in modules and _kind(each) in kinds for each in _modules(key))]


def _modules(key: str) -> list[str]:
    """The modules that a tensor lies in: "a.0.b.weight" in "a", "a.0" and "a.0.b"."""
    parts = key.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _kind(module: str) -> str:
    """A block's place and name without its number; nothing for other modules."""
    stage, _, name = module.rpartition(".")
    is_block = name[-1:].isdecimal() and any(map(str.isdecimal, stage))
    return f"{stage}.{name.rstrip('0123456789')}" if is_block else ""
