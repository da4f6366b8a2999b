"""Networks by name, and networks composed from a backbone and a head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segdistill.constraints import Count, Positive
from segdistill.discovery import check_options, explain, pick
from segdistill.errors import RecipeError, nearest
from segdistill.models.adapters import build_adapted, check_adapted, is_adapted
from segdistill.models.backbones import create_backbone, describe_backbone
from segdistill.models.heads import Head
from segdistill.models.heads.fcn import FCN
from segdistill.models.published import PUBLISHED
from segdistill.models.segmenter import SegmentationNetwork, Segmenter
from segdistill.models.unfilled import skip_init

ZOO: dict[str, dict[str, Any]] = {
    "mobilenetv2_pspnet": {
        "backbone": "mobilenetv2_100",
        "head": "pspnet",
        "channels": 128,
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
}
"""Name -> what it is made of; every key is a field of `NetworkSpec`."""


class NetworkSpec(BaseModel):
    """What a network is made of; enough to build it again.

    name: a network of the zoo, whose fields the others override, or one of another library, such as "hf:FOLDER" or
    "smp:unet/resnet18" (docs/adapters.md), with `options` of its own.
    head: a head's name, or {name: .., options of it}.
    channels: width of the head. auxiliary_channels: width of the auxiliary FCN head on the last stage but one, 0 for
    none. output_stride: 8, 16 or 32 where the backbone can; null for its own. backbone_weights: null, "pretrained",
    a .safetensors file, or a folder with <backbone>.safetensors.
    mean, std: normalisation of RGB in [0,1]; default the backbone's own. bgr: the weights expect BGR.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    backbone: str = ""
    head: str | dict[str, Any] = "fcn"
    channels: Count | None = None
    output_stride: Count | None = None
    auxiliary_channels: int = Field(64, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    backbone_weights: str | None = None
    backbone_options: dict[str, Any] = {}
    mean: tuple[float, float, float] | None = None
    std: tuple[Positive, Positive, Positive] | None = None
    bgr: bool = False
    options: dict[str, Any] = {}


def resolve_spec(options: dict[str, Any], where: str = "network") -> NetworkSpec:
    """`options` over the zoo entry they name, checked."""
    name = options.get("name")
    adapted = is_adapted(name)
    if name is not None and not adapted and name not in ZOO:
        raise RecipeError(f"Key '{where}.name': no network is called '{name}'.{nearest(str(name), ZOO)}")
    try:
        spec = NetworkSpec.model_validate((ZOO[name] if name and not adapted else {}) | options)
    except ValidationError as error:
        raise RecipeError("\n".join(explain(error, NetworkSpec, where))) from error
    if adapted:
        check_adapted(spec, where)
        return spec
    if spec.options:
        raise RecipeError(f"Key '{where}.options' is for networks of other libraries, as in name: smp:unet/resnet18.")
    if not spec.backbone:
        raise RecipeError(f"Key '{where}' needs a name (of the zoo: {', '.join(ZOO)}) or a backbone and a head.")
    return spec


def build(spec: NetworkSpec, num_classes: int) -> SegmentationNetwork:
    """The network of `spec` for K = `num_classes` classes."""
    if is_adapted(spec.name):
        return build_adapted(spec, num_classes)
    backbone = create_backbone(
        spec.backbone, output_stride=spec.output_stride, weights=spec.backbone_weights, options=spec.backbone_options
    )
    stages, own_mean, own_std = describe_backbone(backbone)
    named: dict[str, Any] = {"name": spec.head} if isinstance(spec.head, str) else dict(spec.head)
    head_class = pick("segdistill.models.heads", Head, named.pop("name", "fcn"), "head")
    if spec.channels is not None:
        named["channels"] = spec.channels
    try:
        head = head_class(stages, **check_options(head_class, named, "head"))
        auxiliary = FCN(stages, channels=spec.auxiliary_channels, stage=-2) if spec.auxiliary_channels else None
    except IndexError as error:
        raise RecipeError(
            f"A head asks for a stage that backbone '{spec.backbone}' does not have; it has {len(stages)} stages, "
            f"0 to {len(stages) - 1} from fine to coarse."
        ) from error
    network = Segmenter(
        backbone,
        head,
        num_classes=num_classes,
        mean=spec.mean or own_mean,
        std=spec.std or own_std,
        bgr=spec.bgr,
        auxiliary=auxiliary,
        dropout=spec.dropout,
    )
    network.spec = spec
    return network


def outline(spec: NetworkSpec, num_classes: int) -> SegmentationNetwork:
    """The network of `spec` without contents, on the device "meta": its names and shapes take no memory."""
    with torch.device("meta"), skip_init():
        return build(spec.model_copy(update={"backbone_weights": None}), num_classes)


def create_model(
    name: str, num_classes: int, *, weights: str | Path | None = None, **options: Any
) -> SegmentationNetwork:
    """The network `name` for `num_classes` classes; called on N,3,H,W in [0,1] it gives a `SegOutput`.

    name: of the zoo, or of another library, such as "hf:FOLDER", "smp:unet/resnet18", "torchvision:fcn_resnet50".
    weights: a file or run folder written by this library, or None. options: fields of `NetworkSpec`.
    """
    model = build(resolve_spec({"name": name, **options}), num_classes)
    if weights is not None:
        from segdistill.models.files import load_checkpoint

        load_checkpoint(model, weights)
    return model


def probe(model: torch.nn.Module, size: tuple[int, int] = (64, 64)) -> Any:
    """The `SegOutput` of an empty image: an example whose shapes methods are made from."""
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    with torch.no_grad():
        output = model(torch.zeros(1, 3, *size, device=device))
    model.train(training)
    return output
