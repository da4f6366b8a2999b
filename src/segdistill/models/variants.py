"""Backbones of published segmentation networks: timm's, with the details in which the published ones differ."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.models.hrnet import HighResolutionModule
from timm.models.pvt_v2 import Attention
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from segdistill.core.errors import CheckpointError, RecipeError
from segdistill.core.pixels import RGB
from segdistill.models.layers import Resize
from segdistill.models.stage_fit import with_any_size


@dataclass(frozen=True)
class Variant:
    """A timm network, made and then changed.

    Attributes:
        timm: Its name in timm.
        options: Arguments of timm's constructor.
        adjust: Changes the network once it is made.
        stride: The output stride it was published with.
    """

    timm: str
    options: dict[str, Any] = field(default_factory=dict)
    adjust: Callable[[nn.Module], None] | None = None
    stride: int | None = None


_FOUR_STAGES = {"out_indices": (1, 2, 3, 4)}


def _single_dilation(backbone: nn.Module) -> None:
    """OpenMMLab dilates only the first convolution of a basic block, timm (and CIRKD) both."""
    for block in backbone.modules():
        if isinstance(block, BasicBlock):
            block.conv2.dilation, block.conv2.padding = (1, 1), (1, 1)


def _first_block_dilation(backbone: Any) -> None:
    """OpenMMLab's MobileNetV2-D8: a stage's dilation acts in its first block only, at the stage's own rate."""
    for stage, dilation in zip(backbone.blocks, (1, 1, 1, 2, 2, 4, 4), strict=True):
        for index, block in enumerate(stage):
            rate = dilation if index == 0 else 1
            block.conv_dw.dilation = block.conv_dw.padding = (rate, rate)


def _stage_dilation(backbone: Any) -> None:
    """OpenMMLab's MobileNetV3-D8: all depthwise convolutions of a dilated stage are dilated, the first as well."""
    for stage, dilation in zip(backbone.blocks[3:6], (2, 2, 4), strict=True):
        for block in stage:
            padding = dilation * (block.conv_dw.kernel_size[0] // 2)
            block.conv_dw.dilation, block.conv_dw.padding = (dilation, dilation), (padding, padding)


class ExactFusion(nn.Module):
    """timm's HRNet module with the exchange between resolutions of the published weights, for any input size.

    Coarser maps are upsampled bilinearly by their factor, then brought to the finer map's exact size; timm
    upsamples by the nearest neighbour and needs sizes that are multiples of 32. Parameter names are timm's.

    Args:
        module: timm's, whose layers it takes over.
    """

    def __init__(self, module: HighResolutionModule) -> None:
        super().__init__()
        self.branches = module.branches
        self.fuse_layers = module.fuse_layers
        self.fuse_act = module.fuse_act
        self.resize = Resize()
        for i, layers in enumerate(self.fuse_layers):
            for j in range(i + 1, len(layers)):
                layers[j][-1] = nn.Upsample(scale_factor=2 ** (j - i), mode="bilinear", align_corners=False)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Each resolution with what comes from all others.

        Args:
            maps: (N,C_i,h_i,w_i), finest first.

        Returns:
            As many maps of the same shapes.
        """
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        fused = []
        for i, (target, layers) in enumerate(zip(maps, self.fuse_layers, strict=True)):
            size = (target.shape[-2], target.shape[-1])
            terms = [layer(x) for layer, x in zip(layers, maps, strict=True)]
            terms[i + 1 :] = [self.resize(term, size) for term in terms[i + 1 :]]
            fused.append(self.fuse_act(functools.reduce(torch.add, terms)))
        return fused


def _exact_fusion(backbone: Any) -> None:
    for stage in (backbone.stage2, backbone.stage3, backbone.stage4):
        for index, module in enumerate(stage):
            stage[index] = ExactFusion(module)


class _SpatialReduction(nn.Conv2d):
    """A patch convolution that takes maps smaller than its patch: the map is repeated to one patch."""

    def forward(self, x: Tensor) -> Tensor:
        short = [max(0, kernel - size) for kernel, size in zip(self.kernel_size, x.shape[-2:], strict=True)]
        if any(short):
            x = F.pad(x, (0, short[1], 0, short[0]), mode="replicate")
        return super().forward(x)


def _any_size(backbone: nn.Module) -> None:
    """Let a MiT run on images smaller than 32 pixels, where the attention's reduction has less than one patch."""
    for attention in backbone.modules():
        if isinstance(attention, Attention) and attention.sr is not None:
            old = attention.sr
            new = _SpatialReduction(old.in_channels, old.out_channels, old.kernel_size, old.stride)
            new.load_state_dict(old.state_dict())
            attention.sr = new


def set_norm_eps(backbone: nn.Module, blocks: float, patches: float) -> None:
    """Set the epsilon of a MiT's layer norms.

    NVlabs and CIRKD have (1e-6, 1e-5); OpenMMLab (1e-6, 1e-6); Hugging Face (1e-5, 1e-5).

    Args:
        backbone: The MiT.
        blocks: Of the norms of blocks and stages.
        patches: Of those of patch embedding and attention's reduction.
    """
    for name, module in backbone.named_modules():
        if isinstance(module, nn.LayerNorm):
            inner = name.endswith(("attn.norm", "downsample.norm", "patch_embed.norm"))
            module.eps = patches if inner else blocks


def _without_last_stages(backbone: Any) -> None:
    """Drop the blocks behind the last stage that is asked for, which timm keeps and runs."""
    stages = [info["stage"] for info in backbone.feature_info.info]
    last = backbone.feature_info.out_indices[-1]
    backbone.blocks = backbone.blocks[: stages[last]]


def _mit(dims: tuple[int, ...], depths: tuple[int, ...]) -> Variant:
    options = {
        "embed_dims": dims,
        "depths": depths,
        "num_heads": (1, 2, 5, 8),
        "sr_ratios": (8, 4, 2, 1),
        "mlp_ratios": (4, 4, 4, 4),
        "drop_path_rate": 0.1,
    }
    return Variant("pvt_v2_b0", options, _any_size)


_DEPTHS = (18, 34, 50, 101, 152)
_WIDE = (64, 128, 320, 512)


def _resnets(suffix: str, adjust: Callable[[nn.Module], None] | None, stem: int | None = None) -> dict[str, Variant]:
    """ResNets at stride 8; with `stem`, three 3x3 convolutions of so many, as many and twice as many channels first."""
    deep = {} if stem is None else {"stem_type": "deep", "stem_width": stem}
    options = {**deep, **_FOUR_STAGES}
    return {f"resnet{depth}_{suffix}": Variant(f"resnet{depth}", options, adjust, stride=8) for depth in _DEPTHS}


def _hrnet(name: str) -> Variant:
    return Variant(name, {"feature_location": "", **_FOUR_STAGES}, _exact_fusion)


VARIANTS: dict[str, Variant] = {
    **_resnets("v1c", _single_dilation, stem=32),  # OpenMMLab
    **_resnets("v1s", None, stem=64),  # CIRKD
    **_resnets("v1b", _single_dilation),  # OpenMMLab, with a 7x7 stem
    **_resnets("vanilla", None),  # CIRKD, with a 7x7 stem
    "mobilenetv2_d8": Variant("mobilenetv2_100", _FOUR_STAGES, _first_block_dilation, stride=8),  # OpenMMLab
    "mobilenetv2_os8": Variant("mobilenetv2_100", _FOUR_STAGES, stride=8),  # CIRKD
    "mobilenetv3_d8": Variant("tf_mobilenetv3_large_100", {}, _stage_dilation, stride=8),  # OpenMMLab
    "mobilenetv2_short": Variant("mobilenetv2_100", {"out_indices": (0, 1, 2, 3)}, _without_last_stages),
    "hrnet_w18s": _hrnet("hrnet_w18_small_v2"),
    "hrnet_w18": _hrnet("hrnet_w18"),
    "hrnet_w48": _hrnet("hrnet_w48"),
    "mit_b0": _mit((32, 64, 160, 256), (2, 2, 2, 2)),
    "mit_b1": _mit(_WIDE, (2, 2, 2, 2)),
    "mit_b2": _mit(_WIDE, (3, 4, 6, 3)),
    "mit_b3": _mit(_WIDE, (3, 4, 18, 3)),
    "mit_b4": _mit(_WIDE, (3, 8, 27, 3)),
    "mit_b5": _mit(_WIDE, (3, 6, 40, 3)),
}
"""Name -> what it is made of. They give four stages, finest first."""


def is_variant(name: str) -> bool:
    """Whether `name` is one of `VARIANTS` or a network of timm.

    Args:
        name: What may be one.

    Returns:
        True for a network that `create_variant` makes.
    """
    return name in VARIANTS or timm.is_model(name)


def stride_of(name: str) -> int | None:
    """The output stride that the variant was published with; None if it has no say in it.

    Args:
        name: Of a variant or a network of timm.

    Returns:
        The stride.
    """
    return VARIANTS[name].stride if name in VARIANTS else None


def create_variant(
    name: str,
    output_stride: int | None = None,
    options: dict[str, Any] | None = None,
    *,
    pretrained: bool = False,
    channels: int = RGB,
) -> nn.Module:
    """A network of timm or of `VARIANTS` as a stack of features, finest first; see `backbones.create_backbone`.

    Args:
        name: The network.
        output_stride: Of the coarsest features; None for the default of timm.
        options: Further arguments of timm's constructor; norm_eps of a MiT (see `set_norm_eps`).
        pretrained: Whether timm's weights are downloaded.
        channels: Of the images.

    Returns:
        A module (N,3,H,W) -> list of stages (N,C,h,w); its `feature_info` has the channels and strides.

    Raises:
        RecipeError: The network can't give features at that stride or with those options.
        CheckpointError: The weights can't be downloaded.
    """
    variant = VARIANTS.get(name, Variant(name))
    arguments = {**variant.options, **(options or {})}
    norm_eps = arguments.pop("norm_eps", None)
    if output_stride is not None:
        arguments["output_stride"] = output_stride
    backbone = _create_timm(name, variant.timm, arguments, channels, pretrained=pretrained)
    if variant.adjust is not None:
        variant.adjust(backbone)
    if norm_eps is not None:
        set_norm_eps(backbone, *norm_eps)
    return backbone


def _create_timm(name: str, timm_name: str, arguments: dict[str, Any], channels: int, *, pretrained: bool) -> nn.Module:
    """timm's network, its errors in words that name our backbone `name`."""
    image = {} if channels == RGB else {"in_chans": channels}
    try:
        return with_any_size(
            lambda further: timm.create_model(
                timm_name, features_only=True, pretrained=pretrained, **{**further, **image, **arguments}
            ),
            architecture=(timm_name, repr(arguments)),
            channels=channels,
        )
    except OSError as error:  # the hub's connection and cache errors
        raise CheckpointError(
            f"Can't download the pretrained weights of '{name}': {str(error).rstrip('.')}. Without a connection, set "
            "student.backbone_weights or teacher.network.backbone_weights, as the network is, to a file or a folder "
            f"with {name}.safetensors, or to null for random weights."
        ) from error
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        stride = arguments.get("output_stride")
        request = "features" if stride is None else f"features at output stride {stride}"
        raise RecipeError(f"Backbone '{name}' can't give {request} ({error or type(error).__name__}).") from error
