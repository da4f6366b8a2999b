"""The networks of the families as tables: what each backbone is made of, and the network that is made of it.

Nothing here needs torch, so that names can be listed without it.
"""

from __future__ import annotations

from typing import Any

BISENETV1_BACKBONES: dict[str, dict[str, Any]] = {
    "bisenetv1_r18": {"resnet": "resnet18"},
    "bisenetv1_r50": {"resnet": "resnet50", "spatial_channels": 256, "context_channels": 512},
}
"""Name -> options of `BiSeNetV1`."""


def bisenetv1_network(backbone: str) -> dict[str, Any]:
    """Fields of `NetworkSpec`: the head is as wide as what it reads, the auxiliary heads half as the context.

    Args:
        backbone: Its name in `BISENETV1_BACKBONES`.

    Returns:
        The fields.
    """
    context = BISENETV1_BACKBONES[backbone].get("context_channels", 128)
    return {
        "backbone": backbone,
        "head": {"name": "fcn", "stage": 1},
        "channels": 2 * context,
        "auxiliary_channels": 0,
        "auxiliary_heads": [{"head": {"name": "fcn", "stage": stage, "channels": context // 2}} for stage in (0, 2)],
        "auxiliary_weight": 1.0,
    }


BISENETV1_NETWORKS = {name: bisenetv1_network(name) for name in BISENETV1_BACKBONES}


BISENETV2_BACKBONES: dict[str, dict[str, Any]] = {"bisenetv2": {}}

BISENETV2_NETWORKS: dict[str, dict[str, Any]] = {
    "bisenetv2": {
        "backbone": "bisenetv2",
        "head": {"name": "fcn", "stage": 1},
        "channels": 1024,
        "auxiliary_channels": 0,
        "auxiliary_heads": [
            {"head": {"name": "fcn", "stage": stage, "channels": channels, "convs": 2}}
            for stage, channels in ((0, 16), (2, 64), (3, 256), (4, 1024))
        ],
        "auxiliary_weight": 1.0,
    }
}


DDRNET_BACKBONES: dict[str, dict[str, Any]] = {
    "ddrnet_23_slim": {"channels": 32},
    "ddrnet_23": {"channels": 64},
}
"""Name -> options of `DDRNet`."""


def ddrnet_network(backbone: str, channels: int) -> dict[str, Any]:
    """Fields of `NetworkSpec`: head and auxiliary head are `channels` wide.

    Args:
        backbone: Its name in `DDRNET_BACKBONES`.
        channels: Of both heads.

    Returns:
        The fields.
    """
    return {
        "backbone": backbone,
        "head": {"name": "preactivated", "stage": 2},
        "channels": channels,
        "auxiliary_channels": 0,
        "auxiliary_heads": [{"head": {"name": "preactivated", "stage": 1, "channels": channels}}],
        "dropout": 0.0,
    }


DDRNET_NETWORKS = {
    "ddrnet_23_slim": ddrnet_network("ddrnet_23_slim", 64),
    "ddrnet_23": ddrnet_network("ddrnet_23", 128),
}


FAST_SCNN_BACKBONES: dict[str, dict[str, Any]] = {"fast_scnn": {}}

FAST_SCNN_NETWORKS: dict[str, dict[str, Any]] = {
    "fast_scnn": {
        "backbone": "fast_scnn",
        "head": {"name": "fcn", "stage": 1, "convs": 2, "separable": True},
        "channels": 128,
        "auxiliary_channels": 0,
        "auxiliary_heads": [{"head": {"name": "fcn", "stage": stage, "channels": 32}} for stage in (2, 0)],
    }
}


ICNET_BACKBONES: dict[str, dict[str, Any]] = {
    f"icnet_r{depth}": {"resnet": f"resnet{depth}_v1c"} for depth in (18, 50, 101)
}
"""Name -> options of `ICNet`."""


def icnet_network(backbone: str) -> dict[str, Any]:
    """Fields of `NetworkSpec`.

    Args:
        backbone: Its name in `ICNET_BACKBONES`.

    Returns:
        The fields.
    """
    return {
        "backbone": backbone,
        "head": {"name": "fcn", "stage": 1},
        "channels": 128,
        "auxiliary_channels": 0,
        "auxiliary_heads": [{"head": {"name": "fcn", "stage": stage, "channels": 128}} for stage in (2, 0)],
    }


ICNET_NETWORKS = {name: icnet_network(name) for name in ICNET_BACKBONES}


PIDNET_BACKBONES: dict[str, dict[str, Any]] = {
    "pidnet_s": {"channels": 32, "context_channels": 96},
    "pidnet_m": {"channels": 64, "context_channels": 96},
    "pidnet_l": {"channels": 64, "context_channels": 112, "stem_blocks": 3, "branch_blocks": 4},
}
"""Name -> options of `PIDNet`."""


def pidnet_network(backbone: str, channels: int) -> dict[str, Any]:
    """Fields of `NetworkSpec`: head and auxiliary head are `channels` wide, the boundary head as the D branch / 2.

    Args:
        backbone: Its name in `PIDNET_BACKBONES`.
        channels: Of both heads.

    Returns:
        The fields.
    """
    boundary = PIDNET_BACKBONES[backbone]["channels"]
    return {
        "backbone": backbone,
        "head": {"name": "preactivated", "stage": 3},
        "channels": channels,
        "auxiliary_channels": 0,
        "auxiliary_heads": [
            {"head": {"name": "preactivated", "stage": 1, "channels": channels}},
            {"head": {"name": "preactivated", "stage": 2, "channels": boundary}, "predicts": "edges"},
        ],
    }


PIDNET_NETWORKS = {
    "pidnet_s": pidnet_network("pidnet_s", 128),
    "pidnet_m": pidnet_network("pidnet_m", 128),
    "pidnet_l": pidnet_network("pidnet_l", 256),
}


STDC_BACKBONES: dict[str, dict[str, Any]] = {"stdc1": {"blocks": (2, 2, 2)}, "stdc2": {"blocks": (4, 5, 3)}}
"""Name -> options of `STDC`."""


def stdc_network(backbone: str) -> dict[str, Any]:
    """Fields of `NetworkSpec`.

    Args:
        backbone: Its name in `STDC_BACKBONES`.

    Returns:
        The fields.
    """
    return {
        "backbone": backbone,
        "head": {"name": "fcn", "stage": 2},
        "channels": 256,
        "auxiliary_channels": 0,
        "auxiliary_heads": [
            {"head": {"name": "fcn", "stage": 1, "channels": 64}},
            {"head": {"name": "fcn", "stage": 3, "channels": 64}},
            {"head": {"name": "fcn", "stage": 0, "channels": 64}, "predicts": "details"},
        ],
        "auxiliary_weight": 1.0,
    }


STDC_NETWORKS = {name: stdc_network(name) for name in STDC_BACKBONES}


SWIN_BACKBONES: dict[str, dict[str, Any]] = {
    "swin_t": {},
    "swin_s": {"depths": (2, 2, 18, 2)},
    "swin_b": {"channels": 128, "depths": (2, 2, 18, 2), "heads": (4, 8, 16, 32)},
    "swin_b_w12": {"channels": 128, "depths": (2, 2, 18, 2), "heads": (4, 8, 16, 32), "window": 12},
    "swin_l_w12": {"channels": 192, "depths": (2, 2, 18, 2), "heads": (6, 12, 24, 48), "window": 12},
}
"""Name -> options of `Swin`."""


def swin_network(backbone: str) -> dict[str, Any]:
    """Fields of `NetworkSpec`: a UPerNet.

    Args:
        backbone: Its name in `SWIN_BACKBONES`.

    Returns:
        The fields.
    """
    return {"backbone": backbone, "head": "upernet", "channels": 512, "auxiliary_channels": 256}


SWIN_NETWORKS = {f"upernet_{name}": swin_network(name) for name in SWIN_BACKBONES}


NETWORKS: dict[str, dict[str, Any]] = {
    **DDRNET_NETWORKS, **PIDNET_NETWORKS, **STDC_NETWORKS, **BISENETV1_NETWORKS, **BISENETV2_NETWORKS,
    **FAST_SCNN_NETWORKS, **ICNET_NETWORKS, **SWIN_NETWORKS,
}  # fmt: skip
"""Name of a network -> fields of `NetworkSpec`."""
