"""Backbones recognized by the shapes of their tensors."""

from __future__ import annotations

from segdistill.models.checkpoints.layout import State, count, pick_by_shape, shape
from segdistill.models.variants import VARIANTS

_BASIC = {"18": (2, 2, 2, 2), "34": (3, 4, 6, 3)}
_BOTTLENECK = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}


def resnet_by_shape(state: State, prefix: str) -> str:
    """The ResNet whose depths a file has.

    Args:
        state: The tensors of the file.
        prefix: Beginning of its tensors' names, as "backbone.".

    Returns:
        "resnet" and its depth, as "resnet18".

    Raises:
        CheckpointError: There is none.
    """
    depths = tuple(count(state, f"{prefix}layer{stage}.") for stage in (1, 2, 3, 4))
    candidates = _BOTTLENECK if f"{prefix}layer1.0.conv3.weight" in state else _BASIC
    return f"resnet{pick_by_shape(candidates, depths, 'ResNet')}"


def mit_by_shape(state: State, patch: str, blocks: str, first: int = 0) -> str:
    """The MiT whose widths and depths a file has.

    Args:
        state: The tensors of the file.
        patch: Name of a stage's patch embedding, with braces for the stage.
        blocks: Beginning of the names of a stage's blocks, with braces for the stage.
        first: What the first stage is numbered with.

    Returns:
        Its name in `VARIANTS`.

    Raises:
        CheckpointError: There is none, or a tensor is missing.
    """
    stages = range(first, first + 4)
    candidates = {
        name: (tuple(variant.options["embed_dims"]), tuple(variant.options["depths"]))
        for name, variant in VARIANTS.items()
        if name.startswith("mit_")
    }
    shapes = (
        tuple(shape(state, patch.format(stage))[0] for stage in stages),
        tuple(count(state, blocks.format(stage)) for stage in stages),
    )
    return pick_by_shape(candidates, shapes, "MiT (widths, depths)")
