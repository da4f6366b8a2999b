"""Networks written here, one family a file: backbones with more than one branch, and what timm has otherwise."""

from __future__ import annotations

from typing import Any

from segdistill.models import family_tables as tables
from segdistill.models.families.base import Backbone
from segdistill.models.families.bisenetv1 import BiSeNetV1
from segdistill.models.families.bisenetv2 import BiSeNetV2
from segdistill.models.families.ddrnet import DDRNet
from segdistill.models.families.fast_scnn import FastSCNN
from segdistill.models.families.icnet import ICNet
from segdistill.models.families.pidnet import PIDNet
from segdistill.models.families.stdc import STDC
from segdistill.models.families.swin import Swin

_CLASSES: tuple[tuple[type[Backbone], dict[str, dict[str, Any]]], ...] = (
    (DDRNet, tables.DDRNET_BACKBONES),
    (PIDNet, tables.PIDNET_BACKBONES),
    (STDC, tables.STDC_BACKBONES),
    (BiSeNetV1, tables.BISENETV1_BACKBONES),
    (BiSeNetV2, tables.BISENETV2_BACKBONES),
    (FastSCNN, tables.FAST_SCNN_BACKBONES),
    (ICNet, tables.ICNET_BACKBONES),
    (Swin, tables.SWIN_BACKBONES),
)

BACKBONES: dict[str, tuple[type[Backbone], dict[str, Any]]] = {
    name: (cls, options) for cls, backbones in _CLASSES for name, options in backbones.items()
}
"""Name of a backbone -> its class and options."""
