"""The zoo: networks by name, and what each is made of. Nothing here needs torch."""

from __future__ import annotations

from typing import Any

from segdistill.models.family_tables import NETWORKS
from segdistill.models.published import PUBLISHED

ZOO: dict[str, dict[str, Any]] = {
    "mobilenetv2_pspnet": {
        "backbone": "mobilenetv2_100",
        "head": "pspnet",
        "channels": 128,
        "output_stride": 16,
    },
    "mobilenetv2_deeplabv3plus": {
        "backbone": "mobilenetv2_100",
        "head": "deeplabv3plus",
        "channels": 64,
        "output_stride": 16,
    },
    "mobilenetv2_short_deeplabv3plus": {
        "backbone": "mobilenetv2_short",
        "head": "deeplabv3plus",
        "channels": 64,
        "output_stride": 16,
    },
    "lite2_deeplabv3plus": {
        "backbone": "tf_efficientnet_lite2",
        "head": "deeplabv3plus",
        "channels": 128,
        "output_stride": 16,
    },
    "mobilenetv2_035_fcn": {
        "backbone": "mobilenetv2_035",
        "head": "fcn",
        "channels": 32,
        "output_stride": 16,
        "auxiliary_channels": 0,
    },
    "mobilenetv2_035_deeplabv3plus": {
        "backbone": "mobilenetv2_035",
        "head": "deeplabv3plus",
        "channels": 24,
        "output_stride": 16,
        "auxiliary_channels": 0,
    },
    **PUBLISHED,
    **NETWORKS,
}
"""Name -> what it is made of; every key is a field of `NetworkSpec`."""
