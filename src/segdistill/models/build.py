"""From a description to a network."""

from __future__ import annotations

from typing import Any

import torch

from segdistill.core.discovery import check_options, pick
from segdistill.core.errors import RecipeError
from segdistill.core.pixels import RGB, over_channels
from segdistill.models.adapters.registry import build_adapted
from segdistill.models.auxiliary import AuxiliaryHead
from segdistill.models.backbones import create_backbone, describe_backbone
from segdistill.models.channels import image_channels
from segdistill.models.heads import Head
from segdistill.models.heads.fcn import FCN
from segdistill.models.network import SegmentationNetwork, device_of
from segdistill.models.segmenter import Segmenter
from segdistill.models.shapes import Shapes
from segdistill.models.skip_init import skip_init
from segdistill.models.spec import NetworkSpec, is_adapted
from segdistill.models.stage_fit import probe_backbone


def build(spec: NetworkSpec, num_classes: int) -> SegmentationNetwork:
    """The network of a spec, with random weights but for its `backbone_weights`.

    Args:
        spec: What it is made of.
        num_classes: K.

    Returns:
        The network, in training mode.

    Raises:
        RecipeError: The backbone or the head can't be what `spec` says.
        CheckpointError: The weights of the backbone are missing or do not fit.
    """
    if is_adapted(spec.name):
        return build_adapted(spec, num_classes)
    _check_classes(spec, num_classes)
    channels = RGB if spec.input_channels is None else len(spec.input_channels)
    _check_channels(spec, channels)
    backbone = create_backbone(
        spec.backbone,
        output_stride=spec.output_stride,
        weights=spec.backbone_weights,
        options=spec.backbone_options,
        channels=channels,
    )
    stages, mean, std = describe_backbone(backbone)
    try:
        head = _make_head(spec.head, stages, spec.channels)
        auxiliary_heads = [
            AuxiliaryHead(_make_head(each.head, stages), num_classes, each.predicts) for each in spec.auxiliary_heads
        ]
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
        mean=spec.mean or over_channels(mean, channels),
        std=spec.std or over_channels(std, channels),
        bgr=spec.bgr,
        auxiliary=auxiliary,
        auxiliary_heads=auxiliary_heads,
        dropout=spec.dropout,
        sigmoid=spec.sigmoid,
    )
    architecture = (spec.backbone, spec.output_stride, repr(spec.backbone_options))
    network.stage_fit = probe_backbone(backbone, spec.backbone, architecture, channels)
    network.spec, network.auxiliary_weight = spec, spec.auxiliary_weight
    network.input_channels = spec.input_channels
    return network


def _check_channels(spec: NetworkSpec, channels: int) -> None:
    """Refuse a normalization of other channels than the network sees."""
    for key in ("mean", "std"):
        values = getattr(spec, key)
        if values is not None and len(values) != channels:
            raise RecipeError(
                f"Key '{key}' has {len(values)} value(s), and the network sees {channels} channel(s). Give each one."
            )
    if spec.bgr and channels != RGB:
        raise RecipeError(
            f"Key 'bgr' is for RGB; the network sees {channels} channel(s). Order them in input_channels."
        )


def _check_classes(spec: NetworkSpec, num_classes: int) -> None:
    """Refuse a network that would say its only class everywhere, and a sigmoid for other than two."""
    if num_classes < 2:
        raise RecipeError(
            "A network that scores a single class says it everywhere. Make it for two, the class and the rest; "
            "sigmoid=true makes one sigmoid score of the two."
        )
    if spec.sigmoid and num_classes != 2:
        raise RecipeError(
            f"Key 'sigmoid': one score makes two classes, one and the rest; there are {num_classes}. Set it to false."
        )


def _make_head(described: str | dict[str, Any], stages: list[int], channels: int | None = None) -> Head:
    """The head of that name and options, `channels` wide unless that is None, on stages of those channels."""
    options: dict[str, Any] = {"name": described} if isinstance(described, str) else dict(described)
    cls = pick("segdistill.models.heads", Head, options.pop("name", "fcn"), "head")
    if channels is not None:
        options["channels"] = channels
    return cls(stages, **check_options(cls, options, "head"))


def outline(spec: NetworkSpec, num_classes: int) -> SegmentationNetwork:
    """The network of a spec without contents, on the device "meta": its names and shapes take no memory.

    Args:
        spec: What it is made of; its `backbone_weights` are not looked at.
        num_classes: K.

    Returns:
        The network.

    Raises:
        RecipeError: The backbone or the head can't be what `spec` says.
    """
    with torch.device("meta"), skip_init(), Shapes():  # the backbone is tried on images
        return build(spec.model_copy(update={"backbone_weights": None}), num_classes)


def probe(model: torch.nn.Module, size: tuple[int, int] = (64, 64)) -> Any:
    """The output of a network for an empty image: an example whose shapes methods are made from.

    Args:
        model: Returns `SegOutput`; its mode stays what it was.
        size: H,W of the image.

    Returns:
        The `SegOutput` of one image.
    """
    training = model.training
    model.eval()
    with torch.no_grad():
        output = model(torch.zeros(1, image_channels(model), *size, device=device_of(model)))
    model.train(training)
    return output
