"""OpenMMLab's names and shapes of the networks in `families`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from segdistill.core.errors import CheckpointError
from segdistill.models import family_tables as tables
from segdistill.models.checkpoints.backbones import resnet_by_shape
from segdistill.models.checkpoints.layout import Rule, State, count, pick_by_shape, shape
from segdistill.models.families import BACKBONES

_PAIR = r"(?=\.[01]\.(?:weight|bias|running_\w+|num_batches_tracked)$)"
"""What stands before the last index of a convolution-norm pair."""


def _pairs(ours: str, published: str) -> list[Rule]:
    """Rules for `ours`, a pattern of a name's beginning: the last index of a pair becomes .conv or .bn."""
    return [
        (rf"{ours}(?P<rest>\.(?:.+\.)?)norm(?=\.\w+$)", rf"{published}\g<rest>bn"),
        (rf"{ours}(?P<rest>|\..+){_PAIR}", rf"{published}\g<rest>@"),
        (ours, published),
    ]


def _auxiliary(number: str = r"\d") -> list[Rule]:
    """Heads with convolutions of their own classifiers, `auxiliary_head.N`."""
    prefix = rf"auxiliary_heads\.({number})"
    return [
        (rf"{prefix}\.head\.conv", r"auxiliary_head.\1.convs.0@"),
        (rf"{prefix}\.head\.more\.0", r"auxiliary_head.\1.convs.1@"),
        (rf"{prefix}\.classifier", r"auxiliary_head.\1.conv_seg"),
    ]


def _preactivated(ours: str, published: str, conv: str, norm: str) -> list[Rule]:
    return [
        (rf"{ours}\.conv\.norm", f"{published}.{conv}.bn"),
        (rf"{ours}\.conv\.conv", f"{published}.{conv}.conv"),
        (rf"{ours}\.norm", f"{published}.{norm}"),
    ]


_BRANCHES = [*_pairs(r"backbone\.(stem|compression_\d|down_\d|spp|pag_\d|diff_\d|dfm)", r"backbone.\1")]
_PLAIN: list[Rule] = [(r"classifier", "decode_head.conv_seg")]
_FCN: list[Rule] = [(r"head\.conv", "decode_head.convs.0@"), *_PLAIN, *_auxiliary()]
_SEPARABLE = {"0": "depthwise_conv", "1": "pointwise_conv"}


def _fast_scnn_stem(m: re.Match[str]) -> str:
    return f"backbone.learning_to_downsample.dsconv{m[1]}.{_SEPARABLE[m[2]]}@"


def _icnet_resnet() -> list[Rule]:
    prefix = r"backbone\.resnet\."
    return [
        (rf"{prefix}conv1\.(\d)", r"backbone.backbone.stem.\1"),
        (rf"{prefix}bn1", "backbone.backbone.stem.7"),
        (prefix, "backbone.backbone."),
    ]


RULES: dict[str, list[Rule]] = {
    "ddrnet": [
        (r"backbone\.(stem\.\d.*downsample)", r"backbone.\1"),
        (r"backbone\.context(.*downsample)", r"backbone.context_branch_layers\1"),
        (r"backbone\.spatial(.*downsample)", r"backbone.spatial_branch_layers\1"),
        *_pairs(r"backbone\.(context|spatial)", r"backbone.\1_branch_layers"),
        *_preactivated(r"head", "decode_head.head", "0", "1"),
        *_preactivated(r"auxiliary_heads\.0\.head", "decode_head.aux_head", "0", "1"),
        (r"auxiliary_heads\.0\.classifier", "decode_head.aux_cls_seg"),
        *_PLAIN,
    ],
    "pidnet": [
        *_pairs(r"backbone\.([ipd])_branch", r"backbone.\1_branch_layers"),
        *_preactivated(r"head", "decode_head.i_head", "conv", "norm"),
        *_preactivated(r"auxiliary_heads\.0\.head", "decode_head.p_head", "conv", "norm"),
        *_preactivated(r"auxiliary_heads\.1\.head", "decode_head.d_head", "conv", "norm"),
        (r"auxiliary_heads\.0\.classifier", "decode_head.p_cls_seg"),
        (r"auxiliary_heads\.1\.classifier", "decode_head.d_cls_seg"),
        *_PLAIN,
    ],
    "stdc": [
        *_pairs(r"backbone\.stages", "backbone.backbone.stages"),
        (r"backbone\.arms\.(\d)\.conv", r"backbone.arms.\1.conv_layer@"),
        (r"backbone\.arms\.(\d)\.attention\.0", r"backbone.arms.\1.atten_conv_layer.1@"),
        (r"backbone\.ffm\.attention\.0", "backbone.ffm.attention.1.conv"),
        (r"backbone\.ffm\.attention\.2", "backbone.ffm.attention.2.conv"),
        *_pairs(r"backbone\.(convs|conv_avg|ffm)", r"backbone.\1"),
        (r"auxiliary_heads\.2\.target", "auxiliary_head.2"),
        *_FCN,
    ],
    "bisenetv1": [
        (r"backbone\.context\.", "backbone.context_path.backbone."),
        (r"backbone\.(arm\d\d)\.conv", r"backbone.context_path.\1.conv_layer@"),
        (r"backbone\.(arm\d\d)\.attention\.0", r"backbone.context_path.\1.atten_conv_layer.1@"),
        (r"backbone\.(conv_head\d\d)", r"backbone.context_path.\1@"),
        (r"backbone\.gap_conv", "backbone.context_path.gap_conv.1@"),
        (r"backbone\.spatial\.(\d)", lambda m: f"backbone.spatial_path.layer{int(m[1]) + 1}@"),
        (r"backbone\.ffm\.attention\.0", "backbone.ffm.conv_atten.0@"),
        (r"backbone\.ffm\.conv1", "backbone.ffm.conv1@"),
        *_FCN,
    ],
    "bisenetv2": [
        *_pairs(r"backbone\.detail", "backbone.detail.detail_branch"),
        *_pairs(r"backbone\.stem", "backbone.semantic.stage1"),
        (
            r"backbone\.semantic\.(\d)\.(\d)\.shortcut\.([01])",
            lambda m: f"backbone.semantic.stage{int(m[1]) + 2}.{m[2]}.shortcut.0.{_SEPARABLE[m[3]]}@",
        ),
        (
            r"backbone\.semantic\.(\d)\.(\d)\.depthwise\.(\d)",
            lambda m: f"backbone.semantic.stage{int(m[1]) + 2}.{m[2]}.dwconv.{m[3]}@",
        ),
        (
            r"backbone\.semantic\.(\d)\.(\d)\.conv2",
            lambda m: f"backbone.semantic.stage{int(m[1]) + 2}.{m[2]}.conv2.0@",
        ),
        (
            r"backbone\.semantic\.(\d)\.(\d)\.conv1",
            lambda m: f"backbone.semantic.stage{int(m[1]) + 2}.{m[2]}.conv1@",
        ),
        (r"backbone\.context\.norm", "backbone.semantic.stage4_CEBlock.gap.1"),
        *_pairs(r"backbone\.context", "backbone.semantic.stage4_CEBlock"),
        (r"backbone\.bga\.(detail|semantic)\.0", r"backbone.bga.\1_dwconv.0.depthwise_conv@"),
        (r"backbone\.bga\.(detail|semantic)\.1", r"backbone.bga.\1_dwconv.0.pointwise_conv.conv"),
        (r"backbone\.bga\.detail_down\.0", "backbone.bga.detail_down.0@"),
        (r"backbone\.bga\.semantic_up", "backbone.bga.semantic_conv.0@"),
        (r"backbone\.bga\.conv", "backbone.bga.conv@"),
        *_FCN,
    ],
    "fast_scnn": [
        (r"backbone\.stem\.0", "backbone.learning_to_downsample.conv@"),
        (r"backbone\.stem\.(\d)\.(\d)", _fast_scnn_stem),
        (
            r"backbone\.deep\.(\d)\.(\d)\.(\d)",
            lambda m: f"backbone.global_feature_extractor.bottleneck{int(m[1]) + 1}.{m[2]}.conv.{m[3]}@",
        ),
        (r"backbone\.ppm\.(\d)", r"backbone.global_feature_extractor.ppm.\1.1@"),
        (r"backbone\.out", "backbone.global_feature_extractor.out@"),
        (r"backbone\.lower\.0", "backbone.feature_fusion.dwconv@"),
        (r"backbone\.lower\.1", "backbone.feature_fusion.conv_lower_res@"),
        (r"backbone\.higher", "backbone.feature_fusion.conv_higher_res@"),
        (r"head\.conv\.(\d)", lambda m: f"decode_head.convs.0.{_SEPARABLE[m[1]]}@"),
        (r"head\.more\.0\.(\d)", lambda m: f"decode_head.convs.1.{_SEPARABLE[m[1]]}@"),
        *_FCN,
    ],
    "icnet": [
        *_icnet_resnet(),
        (r"backbone\.branches\.(\d)", r"backbone.psp_modules.\1.1@"),
        (r"backbone\.bottleneck", "backbone.psp_bottleneck@"),
        (r"backbone\.fuse_(\d\d)\.(conv_\w+)", r"neck.cff_\1.\2@"),
        *_pairs(r"backbone\.(conv_sub\d)", r"backbone.\1"),
        *_FCN,
    ],
    "swin": [
        (r"backbone\.patches", "backbone.patch_embed.projection"),
        (r"backbone\.patch_norm", "backbone.patch_embed.norm"),
        (r"backbone\.merges\.(\d)", r"backbone.stages.\1.downsample"),
        (r"backbone\.norms\.(\d)", r"backbone.norm\1"),
        (r"backbone\.stages\.(\d)\.(\d+)\.attn", r"backbone.stages.\1.blocks.\2.attn.w_msa"),
        (r"backbone\.stages\.(\d)\.(\d+)\.mlp\.0", r"backbone.stages.\1.blocks.\2.ffn.layers.0.0"),
        (r"backbone\.stages\.(\d)\.(\d+)\.mlp\.2", r"backbone.stages.\1.blocks.\2.ffn.layers.1"),
        (r"backbone\.stages\.(\d)\.(\d+)", r"backbone.stages.\1.blocks.\2"),
    ],
}
"""Family -> what its tensors are called by OpenMMLab; "swin" has those of the backbone alone."""
for _family in ("ddrnet", "pidnet"):
    RULES[_family] += _BRANCHES

FAMILIES: dict[str, str] = {name: cls.__module__.rpartition(".")[2] for name, (cls, _) in BACKBONES.items()}
"""Backbone -> its family."""


def _stem_width(state: State) -> int:
    return shape(state, "backbone.stem.0.conv.weight")[0]


def _ddrnet(state: State) -> dict[str, Any]:
    candidates = {name: options["channels"] for name, options in tables.DDRNET_BACKBONES.items()}
    backbone = pick_by_shape(candidates, _stem_width(state), "DDRNet (channels)")
    return tables.ddrnet_network(backbone, shape(state, "decode_head.head.0.conv.weight")[0])


def _pidnet(state: State) -> dict[str, Any]:
    candidates = {
        name: (options["channels"], options["context_channels"], options.get("branch_blocks", 3))
        for name, options in tables.PIDNET_BACKBONES.items()
    }
    width, blocks = shape(state, "backbone.spp.scales.0.conv.weight")[0], count(state, "backbone.i_branch_layers.0.")
    sizes = _stem_width(state), width, blocks
    backbone = pick_by_shape(candidates, sizes, "PIDNet (channels, channels of the context, blocks a stage)")
    return tables.pidnet_network(backbone, shape(state, "decode_head.i_head.conv.conv.weight")[0])


def _stdc(state: State) -> dict[str, Any]:
    candidates = {name: options["blocks"] for name, options in tables.STDC_BACKBONES.items()}
    sizes = tuple(count(state, f"backbone.backbone.stages.{stage}.") for stage in (2, 3, 4))
    return tables.stdc_network(pick_by_shape(candidates, sizes, "STDC (blocks)"))


def _of_depth(family: str, state: State, prefix: str, candidates: dict[str, Any]) -> str:
    name = f"{family}_r{resnet_by_shape(state, prefix).removeprefix('resnet')}"
    if name not in candidates:
        raise CheckpointError(f"No network of this library is called {name}; it has {', '.join(candidates)}.")
    return name


def _bisenetv1(state: State) -> dict[str, Any]:
    prefix = "backbone.context_path.backbone."
    return tables.bisenetv1_network(_of_depth("bisenetv1", state, prefix, tables.BISENETV1_BACKBONES))


def _icnet(state: State) -> dict[str, Any]:
    return tables.icnet_network(_of_depth("icnet", state, "backbone.backbone.", tables.ICNET_BACKBONES))


def swin_by_shape(state: State) -> str:
    """The Swin with these widths, depths and windows.

    Args:
        state: The tensors of the file.

    Returns:
        Its name in `tables.SWIN_BACKBONES`.

    Raises:
        CheckpointError: There is none, or a tensor is missing.
    """
    block = "backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table"
    candidates = {}
    for name, options in tables.SWIN_BACKBONES.items():
        window = options.get("window", 7)
        depths = options.get("depths", (2, 2, 6, 2))
        candidates[name] = (options.get("channels", 96), depths, (2 * window - 1) ** 2)
    sizes = (
        shape(state, "backbone.patch_embed.projection.weight")[0],
        tuple(count(state, f"backbone.stages.{stage}.blocks.") for stage in range(4)),
        shape(state, block)[0],
    )
    return pick_by_shape(candidates, sizes, "Swin (channels, depths, relative positions)")


_RECOGNIZED: dict[str, Callable[[State], dict[str, Any]]] = {
    "backbone.context_branch_layers.0.0.conv1.conv.weight": _ddrnet,
    "backbone.pag_1.f_i.conv.weight": _pidnet,
    "backbone.backbone.stages.0.conv.weight": _stdc,
    "backbone.context_path.arm16.conv_layer.conv.weight": _bisenetv1,
    "backbone.detail.detail_branch.0.0.conv.weight": lambda _: tables.BISENETV2_NETWORKS["bisenetv2"],
    "backbone.learning_to_downsample.conv.conv.weight": lambda _: tables.FAST_SCNN_NETWORKS["fast_scnn"],
    "neck.cff_24.conv_low.conv.weight": _icnet,
}
"""A tensor that only this family has -> the fields of `NetworkSpec` that the file's tensors imply."""


def recognize(state: State) -> dict[str, Any] | None:
    """The fields of `NetworkSpec` that the tensors imply; None if they are of no family with a name of its own.

    Args:
        state: The tensors of the file.

    Returns:
        The fields.

    Raises:
        CheckpointError: They are of a family, but of none of its networks.
    """
    return next((implied(state) for key, implied in _RECOGNIZED.items() if key in state), None)
