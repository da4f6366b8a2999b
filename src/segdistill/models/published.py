"""The networks of the published tables, as compositions; every key is a field of `NetworkSpec`."""

from __future__ import annotations

from typing import Any

_SPP = {"dilations": [12, 24, 36]}  # for output stride 8
CIRKD_PIXELS = {
    "bgr": True,
    "mean": [122.67891434 / 255, 116.66876762 / 255, 104.00698793 / 255],
    "std": [1 / 255] * 3,  # pixels of 0 to 255, not scaled
}


def _resnet(depth: int, head: str, **options: Any) -> dict[str, Any]:
    """A network of OpenMMLab and BPKD: ResNetV1c at stride 8, auxiliary head on stage 3."""
    small = depth < 50
    return {
        "backbone": f"resnet{depth}_v1c",
        "head": {"name": head, **options},
        "channels": 128 if small else 512,
        "output_stride": 8,
        "auxiliary_channels": 64 if small else 256,
    }


def _hrnet(backbone: str) -> dict[str, Any]:
    return {
        "backbone": backbone,
        "head": {"name": "fcn", "stage": "all", "kernel": 1, "channels": None},
        "auxiliary_channels": 0,
        "dropout": 0.0,
    }


def _cirkd(backbone: str, head: dict[str, Any], channels: int, auxiliary: int) -> dict[str, Any]:
    return {
        "backbone": backbone,
        "head": head,
        "channels": channels,
        "output_stride": 8,
        "auxiliary_channels": auxiliary,
        **CIRKD_PIXELS,
    }


_PROJECTED = {"name": "deeplabv3", "project": True, **_SPP}


def _pyramid(inputs: int) -> dict[str, Any]:
    return {"name": "pspnet", "branch_channels": inputs // 4, "align_corners": True}


PUBLISHED: dict[str, dict[str, Any]] = {
    # BPKD's table, OpenMMLab's layout
    "pspnet_r101": _resnet(101, "pspnet"),
    "pspnet_r50": _resnet(50, "pspnet"),
    "pspnet_r18": _resnet(18, "pspnet"),
    "hrnet_w48": _hrnet("hrnet_w48"),
    "hrnet_w18": _hrnet("hrnet_w18"),
    "hrnet_w18s": _hrnet("hrnet_w18s"),
    "deeplabv3plus_r101": _resnet(101, "deeplabv3plus", low_stage=0, **_SPP),
    "deeplabv3plus_r18": _resnet(18, "deeplabv3plus", low_stage=0, **_SPP),
    "deeplabv3plus_mv2": {
        "backbone": "mobilenetv2_d8",
        "head": {"name": "deeplabv3plus", "low_stage": 0, **_SPP},
        "channels": 512,
        "output_stride": 8,
        "auxiliary_channels": 256,
    },
    "deeplabv3plus_mv2_city": {  # BPKD's student on Cityscapes is narrower than the one of its table
        "backbone": "mobilenetv2_d8",
        "head": {"name": "deeplabv3plus", "low_stage": 0, **_SPP},
        "channels": 128,
        "output_stride": 8,
        "auxiliary_channels": 64,
    },
    "isanet_r101": _resnet(101, "isanet"),
    "isanet_r18": _resnet(18, "isanet"),
    "deeplabv3_r101": _resnet(101, "deeplabv3", **_SPP),
    "deeplabv3_r18": _resnet(18, "deeplabv3", **_SPP),
    **{
        f"segformer_b{size}": {"backbone": f"mit_b{size}", "head": "segformer", "auxiliary_channels": 0,
                               "backbone_options": {"norm_eps": [1e-6, 1e-6]}}
        for size in range(6)
    },
    **{
        f"upernet_r{depth}": {
            "backbone": f"resnet{depth}_v1c",
            "head": "upernet",
            "channels": 512,
            "output_stride": 32,
            "auxiliary_channels": 256,
        }
        for depth in (18, 50, 101)
    },
    "lraspp_mv3_large": {
        "backbone": "mobilenetv3_d8",
        "head": "lraspp",
        "channels": 128,
        "output_stride": 8,
        "auxiliary_channels": 0,
    },
    # CIRKD: generation 1 (CVPR 2022) and generation 2 (CIRKDv2)
    "deeplabv3_r101_cirkd": _cirkd("resnet101_v1s", _PROJECTED, 256, 256),
    "deeplabv3_r18_cirkd": _cirkd("resnet18_v1s", _PROJECTED, 128, 64),
    "deeplabv3_mv2": _cirkd("mobilenetv2_os8", _PROJECTED, 128, 0),
    "pspnet_r101_cirkd": _cirkd("resnet101_v1s", _pyramid(2048), 512, 256),
    "pspnet_r18_cirkd": _cirkd("resnet18_v1s", _pyramid(512), 128, 64),
    "pspnet_mv2": _cirkd("mobilenetv2_os8", _pyramid(320), 128, 0),
    "deeplabv3_r101_cirkd2": _cirkd("resnet101_v1s", _PROJECTED, 512, 256),
    "deeplabv3_r18_cirkd2": _cirkd("resnet18_v1s", _PROJECTED, 512, 64),
    "pspnet_r101_cirkd2": _cirkd("resnet101_v1s", _pyramid(2048), 256, 256),
    **{
        f"segformer_b{size}_original": {
            "backbone": f"mit_b{size}",
            "head": {"name": "segformer", "normed": False},
            "channels": 256 if size < 2 else 768,
            "auxiliary_channels": 0,
        }
        for size in range(6)
    },
    **{
        f"segformer_b{size}_cirkd": {
            "backbone": f"mit_b{size}",
            "head": {"name": "segformer", "normed": False, "fusion_bias": True},
            "channels": 256 if size < 2 else 768,
            "auxiliary_channels": 0,
            "dropout": 0.0,
            **CIRKD_PIXELS,
        }
        for size in range(6)
    },
}  # fmt: skip
