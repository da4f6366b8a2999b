"""Networks written here, one family a file: backbones with more than one branch, and what timm has otherwise."""

from __future__ import annotations

from typing import Any

from segdistill.models.families import bisenetv1, bisenetv2, ddrnet, fast_scnn, icnet, pidnet, stdc, swin
from segdistill.models.families.base import Backbone

_CLASSES: tuple[tuple[Any, type[Backbone]], ...] = (
    (ddrnet, ddrnet.DDRNet),
    (pidnet, pidnet.PIDNet),
    (stdc, stdc.STDC),
    (bisenetv1, bisenetv1.BiSeNetV1),
    (bisenetv2, bisenetv2.BiSeNetV2),
    (fast_scnn, fast_scnn.FastSCNN),
    (icnet, icnet.ICNet),
    (swin, swin.Swin),
)

BACKBONES: dict[str, tuple[type[Backbone], dict[str, Any]]] = {
    name: (cls, options) for module, cls in _CLASSES for name, options in module.BACKBONES.items()
}
"""Name of a backbone -> its class and options."""

NETWORKS: dict[str, dict[str, Any]] = {
    name: fields for module, _ in _CLASSES for name, fields in module.NETWORKS.items()
}
"""Name of a network -> fields of `NetworkSpec`."""
