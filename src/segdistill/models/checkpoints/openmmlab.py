"""OpenMMLab's segmentation files (mmsegmentation 0.x and 1.x), BPKD's and mmrazor's students among them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from segdistill.core.errors import CheckpointError
from segdistill.models.checkpoints.backbones import mit_by_shape, resnet_by_shape
from segdistill.models.checkpoints.layout import Layout, Rule, State, count, pick_by_shape, shape
from segdistill.models.checkpoints.openmmlab_families import FAMILIES, RULES, recognize, swin_by_shape

_HRNETS = {"hrnet_w18s": (18, 2), "hrnet_w18": (18, 4), "hrnet_w48": (48, 4)}
"""Width of the finest branch, and blocks in it."""

_MOBILENETV3_STAGES = (1, 2, 4, 7, 11, 13, 16)
"""Number of the first layer of each of timm's stages."""
_V3_FIRST = {
    "conv_dw": "depthwise_conv@.0",
    "bn1": "depthwise_conv@.1",
    "conv_pw": "linear_conv@.0",
    "bn2": "linear_conv@.1",
}
_V3_BLOCK = {
    "conv_pw": "expand_conv@.0",
    "bn1": "expand_conv@.1",
    "conv_dw": "depthwise_conv@.0",
    "bn2": "depthwise_conv@.1",
    "conv_pwl": "linear_conv@.0",
    "bn3": "linear_conv@.1",
    "se.conv_reduce": "se.conv1.conv",
    "se.conv_expand": "se.conv2.conv",
}


def _v3_layer(stage: str, block: str) -> str:
    return f"backbone.layer{_MOBILENETV3_STAGES[int(stage)] + int(block)}"


_BLOCK = {"conv_pw": "0@.0", "bn1": "0@.1", "conv_dw": "1@.0", "bn2": "1@.1", "conv_pwl": "2@.0", "bn3": "2@.1"}
_FIRST = {"conv_dw": "0@.0", "bn1": "0@.1", "conv_pw": "1@.0", "bn2": "1@.1"}

_STAGE = r"backbone\.stages_(\d)\."
_BACKBONES: dict[str, list[Rule]] = {
    "deep": [(r"backbone\.conv1\.(\d)", r"backbone.stem.\1"), (r"backbone\.bn1", "backbone.stem.7")],
    "mobilenetv2": [
        (r"backbone\.conv_stem\.", "backbone.conv1@.0."),
        (r"backbone\.bn1\.", "backbone.conv1@.1."),
        (r"backbone\.blocks\.0\.(\d)\.(\w+)", lambda m: f"backbone.layer1.{m[1]}.conv.{_FIRST[m[2]]}"),
        (
            r"backbone\.blocks\.(\d)\.(\d)\.(\w+)",
            lambda m: f"backbone.layer{int(m[1]) + 1}.{m[2]}.conv.{_BLOCK[m[3]]}",
        ),
    ],
    "mobilenetv3": [
        (r"backbone\.conv_stem\.", "backbone.layer0@.0."),
        (r"backbone\.bn1\.", "backbone.layer0@.1."),
        (r"backbone\.blocks\.6\.0\.conv\.", "backbone.layer16@.0."),
        (r"backbone\.blocks\.6\.0\.bn1\.", "backbone.layer16@.1."),
        (r"backbone\.blocks\.(0)\.(0)\.(\w+)", lambda m: f"{_v3_layer(m[1], m[2])}.{_V3_FIRST[m[3]]}"),
        (
            r"backbone\.blocks\.(\d)\.(\d)\.(se\.\w+|\w+)",
            lambda m: f"{_v3_layer(m[1], m[2])}.{_V3_BLOCK[m[3]]}",
        ),
    ],
    "mit": [
        (r"backbone\.patch_embed\.proj", "backbone.layers.0.0.projection"),
        (r"backbone\.patch_embed\.norm", "backbone.layers.0.0.norm"),
        (rf"{_STAGE}downsample\.proj", r"backbone.layers.\1.0.projection"),
        (rf"{_STAGE}downsample\.norm", r"backbone.layers.\1.0.norm"),
        (rf"{_STAGE}norm", r"backbone.layers.\1.2"),
        (rf"{_STAGE}blocks\.(\d+)\.attn\.q\.(\w+)", r"backbone.layers.\1.1.\2.attn.attn.in_proj_\3#0-1/3"),
        (rf"{_STAGE}blocks\.(\d+)\.attn\.kv\.(\w+)", r"backbone.layers.\1.1.\2.attn.attn.in_proj_\3#1-3/3"),
        (rf"{_STAGE}blocks\.(\d+)\.attn\.proj", r"backbone.layers.\1.1.\2.attn.attn.out_proj"),
        (rf"{_STAGE}blocks\.(\d+)\.mlp\.fc1", r"backbone.layers.\1.1.\2.ffn.layers.0"),
        (rf"{_STAGE}blocks\.(\d+)\.mlp\.dwconv", r"backbone.layers.\1.1.\2.ffn.layers.1"),
        (rf"{_STAGE}blocks\.(\d+)\.mlp\.fc2", r"backbone.layers.\1.1.\2.ffn.layers.4"),
        (rf"{_STAGE}blocks\.(\d+)", r"backbone.layers.\1.1.\2"),
    ],
}

_ASPP: list[Rule] = [
    (r"head\.image_pool", "decode_head.image_pool.1@"),
    (r"head\.branches\.0", "decode_head.aspp_modules.0@"),
    (r"head\.bottleneck", "decode_head.bottleneck@"),
]
_HEADS: dict[str, list[Rule]] = {
    "fcn": [(r"head\.conv", "decode_head.convs.0@")],
    "pspnet": [
        (r"head\.branches\.(\d)", r"decode_head.psp_modules.\1.1@"),
        (r"head\.bottleneck", "decode_head.bottleneck@"),
    ],
    "deeplabv3": [*_ASPP, (r"head\.branches\.(\d)", r"decode_head.aspp_modules.\1@")],
    "deeplabv3plus": [
        *_ASPP,
        (r"head\.branches\.(\d)\.0", r"decode_head.aspp_modules.\1.depthwise_conv@"),
        (r"head\.branches\.(\d)\.1", r"decode_head.aspp_modules.\1.pointwise_conv@"),
        (r"head\.low", "decode_head.c1_bottleneck@"),
        (r"head\.decoder\.(\d)\.0", r"decode_head.sep_bottleneck.\1.depthwise_conv@"),
        (r"head\.decoder\.(\d)\.1", r"decode_head.sep_bottleneck.\1.pointwise_conv@"),
    ],
    "isanet": [
        (r"head\.input", "decode_head.in_conv@"),
        (r"head\.output", "decode_head.out_conv@"),
        *(
            (rf"head\.{ours}_range\.{layer}", f"decode_head.{theirs}_relation.{name}")
            for ours, theirs in (("long", "global"), ("short", "local"))
            for layer, name in (
                (r"key\.(\d)", r"key_project.\1@"),
                (r"query\.(\d)", r"query_project.\1@"),
                ("value", "value_project"),
                ("project", "output_project@"),
            )
        ),
    ],
    "upernet": [
        (r"head\.pyramid\.branches\.(\d)", r"decode_head.psp_modules.\1.1@"),
        (r"head\.pyramid\.bottleneck", "decode_head.bottleneck@"),
        (r"head\.laterals\.(\d)", r"decode_head.lateral_convs.\1@"),
        (r"head\.smooth\.(\d)", r"decode_head.fpn_convs.\1@"),
        (r"head\.bottleneck", "decode_head.fpn_bottleneck@"),
    ],
    "lraspp": [
        (r"head\.conv", "decode_head.aspp_conv@"),
        (r"head\.attention", "decode_head.image_pool.1.conv"),
        (r"head\.input", "decode_head.conv_up_input"),
        (r"head\.branches\.(\d)", r"decode_head.convs.conv\1"),
        (r"head\.fusions\.(\d)", r"decode_head.conv_ups.conv_up\1@"),
    ],
    "segformer": [
        (r"head\.projections\.(\d)", r"decode_head.convs.\1@"),
        (r"head\.fusion", "decode_head.fusion_conv@"),
    ],
}
_CLASSIFIERS: list[Rule] = [
    (r"classifier", "decode_head.conv_seg"),
    (r"auxiliary\.conv", "auxiliary_head.convs.0@"),
    (r"auxiliary_classifier", "auxiliary_head.conv_seg"),
]


_FPN = "decode_head.fpn_bottleneck.conv.weight"


class OpenMMLab(Layout):
    """`backbone.`, `decode_head.`, `auxiliary_head.`; a convolution and its norm are `.conv` and `.bn`."""

    title = "OpenMMLab"
    convolutions = re.compile(r"ffn\.layers\.[04]\.weight$")

    def matches(self, names: Collection[str]) -> bool:
        """Whether a file has OpenMMLab's classifier, and is no SegFormer, which has a layout of its own.

        Args:
            names: Of its tensors.
        """
        return "decode_head.conv_seg.weight" in names and "decode_head.linear_pred.weight" not in names

    def num_classes(self, state: State) -> int:
        """K, from the classifier's rows.

        Args:
            state: The tensors of the file.
        """
        return shape(state, "decode_head.conv_seg.weight")[0]

    def rules(self, backbone: str, head: str) -> Sequence[Rule]:
        """From our names to OpenMMLab's.

        Args:
            backbone: A network with branches has rules for its head, too.
            head: Of any other network.

        Raises:
            CheckpointError: The layout has no names for such a head.
        """
        family = FAMILIES.get(backbone, "")
        if family and family != "swin":
            return RULES[family]
        if head not in _HEADS:
            raise CheckpointError(f"{self.title} has no names for head '{head}'; it has {', '.join(_HEADS)}.")
        return [*_BACKBONES.get(_kind(backbone), RULES.get(family, [])), *_HEADS[head], *_CLASSIFIERS]

    def network(self, state: State) -> dict[str, Any]:
        """The network that a file holds, by names and shapes of its tensors.

        Args:
            state: The tensors of the file.

        Returns:
            The fields of its `NetworkSpec`; auxiliary_channels is 0 where the file has no auxiliary head.

        Raises:
            CheckpointError: Its head or backbone is none of this library.
        """
        implied = recognize(state)
        if implied is not None:
            return implied
        backbone, fields = _backbone(state)
        head, channels = _head(state)
        auxiliary = state.get("auxiliary_head.convs.0.conv.weight")
        return {
            "backbone": backbone,
            "head": head,
            "channels": channels,
            "auxiliary_channels": 0 if auxiliary is None else auxiliary.shape[0],
            "dropout": 0.0 if head["name"] == "fcn" and head.get("stage") == "all" else 0.1,
            **fields,
        }


def _kind(backbone: str) -> str:
    if backbone.startswith("resnet"):
        return "deep" if backbone.endswith("v1c") else "plain"
    return backbone.partition("_")[0]


def _backbone(state: State) -> tuple[str, dict[str, Any]]:
    if "backbone.layers.0.0.projection.weight" in state:
        name = mit_by_shape(state, "backbone.layers.{}.0.projection.weight", "backbone.layers.{}.1.")
        return name, {"backbone_options": {"norm_eps": [1e-6, 1e-6]}}
    if "backbone.stage2.0.branches.0.0.conv1.weight" in state:
        prefix = "backbone.stage2.0.branches.0."
        width = shape(state, f"{prefix}0.conv1.weight")[0]
        return pick_by_shape(_HRNETS, (width, count(state, prefix)), "HRNet (width, blocks)"), {}
    if "backbone.patch_embed.projection.weight" in state:
        return swin_by_shape(state), {}
    if "backbone.layer16.conv.weight" in state:
        return "mobilenetv3_d8", {"output_stride": 8}
    if "backbone.conv1.conv.weight" in state:
        return "mobilenetv2_d8", {"output_stride": 8}
    if "backbone.layer1.0.conv1.weight" in state:
        stride = 32 if _FPN in state else 8
        stem = "v1c" if "backbone.stem.0.weight" in state else "v1b"
        return f"{resnet_by_shape(state, 'backbone.')}_{stem}", {"output_stride": stride}
    raise CheckpointError(
        "The file is in OpenMMLab's layout, but its backbone is none of ResNet, MobileNetV2 and V3, HRNet, MiT, Swin "
        "and those of the real-time networks. "
        f"First tensors: {', '.join(list(state)[:4])}."
    )


def _head(state: State) -> tuple[dict[str, Any], int | None]:
    """The head's options and its width."""
    name = "decode_head."
    spp = {"dilations": [12, 24, 36]}
    if _FPN in state:
        return {"name": "upernet"}, shape(state, _FPN)[0]
    if f"{name}conv_up_input.weight" in state:
        return {"name": "lraspp"}, shape(state, f"{name}conv_up_input.weight")[0]
    if f"{name}psp_modules.0.1.conv.weight" in state:
        return {"name": "pspnet"}, shape(state, f"{name}bottleneck.conv.weight")[0]
    if f"{name}c1_bottleneck.conv.weight" in state:
        low = shape(state, f"{name}c1_bottleneck.conv.weight")[0]
        options = {"name": "deeplabv3plus", "low_stage": 0, **spp} | ({} if low == 48 else {"low_channels": low})
        return options, shape(state, f"{name}bottleneck.conv.weight")[0]
    if f"{name}aspp_modules.0.conv.weight" in state:
        return {"name": "deeplabv3", **spp}, shape(state, f"{name}bottleneck.conv.weight")[0]
    if f"{name}global_relation.value_project.weight" in state:
        inner = shape(state, f"{name}global_relation.key_project.0.conv.weight")[0]
        options = {"name": "isanet"} | ({} if inner == 256 else {"attention_channels": inner})
        return options, shape(state, f"{name}in_conv.conv.weight")[0]
    if f"{name}fusion_conv.conv.weight" in state:
        return {"name": "segformer"}, shape(state, f"{name}fusion_conv.conv.weight")[0]
    if f"{name}convs.0.conv.weight" in state and count(state, f"{name}convs.") == 1:
        width, _, kernel, _ = shape(state, f"{name}convs.0.conv.weight")
        if "backbone.stage2.0.branches.0.0.conv1.weight" in state:
            return {"name": "fcn", "stage": "all", "kernel": kernel, "channels": None}, None
        return {"name": "fcn", "kernel": kernel}, width
    raise CheckpointError(
        "The file is in OpenMMLab's layout, but its head is none of PSP, DeepLabV3, DeepLabV3+, ISA, UPerNet, LR-ASPP, "
        "SegFormer and FCN "
        f"with one convolution. Its tensors: {', '.join(sorted(k for k in state if k.startswith(name))[:4])}."
    )
