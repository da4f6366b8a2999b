"""The deployed networks in small: the same layers, fewer channels and blocks."""

from __future__ import annotations

from typing import Any

import torch

from segdistill.models.build import build
from segdistill.models.segmenter import Segmenter
from segdistill.models.zoo import resolve_spec

SMALL: dict[str, dict[str, Any]] = {
    "ddrnet_23_slim": {"channels": 8, "context_channels": 8},
    "pidnet_s": {"channels": 8, "context_channels": 8, "stem_blocks": 1, "branch_blocks": 1},
    "pidnet_l": {"channels": 24, "context_channels": 8, "branch_blocks": 1},
    "stdc1": {"blocks": [1, 1, 1]},
    "bisenetv1_r18": {"spatial_channels": 8, "context_channels": 16},
    "bisenetv2": {},
    "fast_scnn": {},
    "icnet_r18": {"channels": 16},
}
"""Network of the zoo -> options that make its backbone small."""
_HEADS = {"bisenetv2": [{"head": {"name": "fcn", "stage": 0, "channels": 8, "convs": 2}}]}


def small(name: str, num_classes: int, **options: Any) -> Segmenter:
    """The network `name` in small, from a fixed seed; options are fields of its spec."""
    torch.manual_seed(0)
    fields: dict[str, Any] = {"name": name, "backbone_options": SMALL[name], "channels": 16}
    if name in _HEADS:
        fields["auxiliary_heads"] = _HEADS[name]
    made = build(resolve_spec(fields | options), num_classes)
    assert isinstance(made, Segmenter)
    return made
