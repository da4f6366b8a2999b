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


def published_backbone(state: State, backbone: str, wanted: State) -> dict[str, Tensor] | None:
    """The tensors `wanted` of our `backbone` from a published file of it; None if no layout has them all.

    Tensors that are left over (the classifier) do not matter. The names may carry the layout's prefix or not.
    """
    prefixed = {f"backbone.{key}": value for key, value in wanted.items()}
    for layout, head, prefix in _LAYOUTS:
        try:
            rules = layout.rules(backbone, head)
        except CheckpointError:
            continue
        found = {key if key.startswith(prefix) else prefix + key: value for key, value in state.items()}
        ours, faults = gather(layout, found, prefixed, rules)
        if all(fault.startswith("surplus ") for fault in faults):
            return {key.removeprefix("backbone."): value for key, value in ours.items()}
    return None
