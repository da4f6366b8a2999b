"""From a name such as "hf:FOLDER" to the adapter of that library, its checked options and its network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segdistill.core.classes import unnamed_classes
from segdistill.core.discovery import check_options, classes_in
from segdistill.core.errors import RecipeError, nearest
from segdistill.core.pixels import normalization_fault
from segdistill.models.adapters.base import Adapter
from segdistill.models.adapters.module import ModuleNetwork, freeze_unused
from segdistill.models.channels import choose_channels
from segdistill.models.live import is_live, module_of
from segdistill.models.loaded import LoadedModel
from segdistill.models.network import SegmentationNetwork
from segdistill.models.spec import NetworkSpec

_FIELDS = {"name", "backbone_weights", "input_channels", "mean", "std", "bgr", "options"}
"""The fields of a `NetworkSpec` that mean something for a network of another library."""


def make_adapter(name: str | Path, options: dict[str, Any], where: str) -> Adapter:
    """The adapter of a network of another library; no file is read.

    Args:
        name: `<prefix>:<source>`.
        options: Of the adapter, which are checked.
        where: What to call the options in errors.

    Raises:
        RecipeError: No adapter has that prefix, nothing follows it, or an option is wrong.
    """
    prefix, _, source = str(name).partition(":")
    adapters = {cls.prefix: cls for cls in classes_in("segdistill.models.adapters", Adapter).values()}
    if prefix not in adapters:
        raise RecipeError(f"'{name}': no kind of network is called '{prefix}:'.{nearest(prefix, adapters)}")
    if not source:
        raise RecipeError(f"'{name}' names no network; what may follow '{prefix}:' is in docs/adapters.md.")
    cls = adapters[prefix]
    return cls(source, **check_options(cls, options, where))


def check_adapted(spec: NetworkSpec, where: str) -> None:
    """Check the spec of a network of another library; no file is read.

    Args:
        spec: The spec.
        where: The recipe's key, for errors.

    Raises:
        RecipeError: Its name or an option is wrong, or it sets what only our own networks have.
    """
    if spec.name is None:
        raise RecipeError(f"Key '{where}' names no network.")
    make_adapter(spec.name, spec.options, f"{where}.options")
    for key in sorted(spec.model_fields_set - _FIELDS):
        if getattr(spec, key) != NetworkSpec.model_fields[key].default:
            raise RecipeError(
                f"Key '{where}.{key}' has no meaning for '{spec.name}'; its options go into {where}.options."
            )


def build_adapted(spec: NetworkSpec, num_classes: int | None) -> SegmentationNetwork:
    """A network of another library, normalized as the spec says; parameters that no output depends on are frozen.

    Args:
        spec: Its name and options.
        num_classes: K; None for the network as it was published, trained and with its K.

    Returns:
        The network.

    Raises:
        RecipeError: A name or option is wrong.
        CheckpointError: A file is not there or does not fit.
    """
    network = _live(spec, num_classes) if is_live(spec) else _adapter(spec).build(num_classes, spec.backbone_weights)
    for key, values, buffer in (("mean", spec.mean, network.mean), ("std", spec.std, network.std)):
        if values is not None and len(values) != buffer.numel():
            raise RecipeError(f"Key '{key}' has {len(values)} value(s); '{spec.name}' takes {buffer.numel()} channels.")
        if values is not None:
            buffer.copy_(torch.tensor(values).view_as(buffer))
    fault = normalization_fault(network.mean.flatten().tolist(), network.std.flatten().tolist())
    if fault:
        raise RecipeError(f"'{spec.name}': {fault}.")
    if spec.input_channels is not None:
        choose_channels(network, spec.input_channels, str(spec.name))
    network.bgr = network.bgr or spec.bgr
    freeze_unused(network)
    return network


def _live(spec: NetworkSpec, num_classes: int | None) -> SegmentationNetwork:
    """A copy of a network that was handed in as an object, wrapped if it is any module."""
    module = module_of(spec)
    if not isinstance(module, SegmentationNetwork):
        return ModuleNetwork(module, num_classes=num_classes)
    if num_classes not in (None, module.num_classes):
        raise RecipeError(
            f"The network that was handed in, {str(spec.name).partition(':')[2]}, scores {module.num_classes} classes "
            f"and the data set has {num_classes}. Make it for {num_classes}."
        )
    return module


@dataclass(frozen=True)
class Adapted:
    """A trained network of another library, taken as it is, with its own classes.

    Attributes:
        spec: Its name and options.
    """

    spec: NetworkSpec

    def load(self) -> LoadedModel:
        """The network with its weights, in evaluation mode."""
        network = build_adapted(self.spec, None)
        network.classes = network.classes or unnamed_classes(network.num_classes)
        return LoadedModel(network.eval(), network.classes, Path(str(self.spec.name)))


def portable_spec(spec: NetworkSpec, network: SegmentationNetwork) -> NetworkSpec:
    """What builds the empty network again without the files that it was loaded from.

    Args:
        spec: What it was built from.
        network: It.

    Returns:
        A spec with its name, normalization and options.
    """
    return NetworkSpec(
        name=spec.name,
        mean=tuple(network.mean.flatten().tolist()),
        std=tuple(network.std.flatten().tolist()),
        bgr=network.bgr,
        input_channels=network.input_channels,
        options=_adapter(spec).portable(network),
    )


def _adapter(spec: NetworkSpec) -> Adapter:
    return make_adapter(str(spec.name), spec.options, "options")
