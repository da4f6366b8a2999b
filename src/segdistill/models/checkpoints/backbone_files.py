"""Published files of a backbone alone: ImageNet weights by the names of OpenMMLab, CIRKD and NVlabs."""

from __future__ import annotations

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
            classifier, does not matter.
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
        if all(fault.startswith("surplus ") for fault in faults):
            return {key.removeprefix("backbone."): value for key, value in ours.items()}
    return None
