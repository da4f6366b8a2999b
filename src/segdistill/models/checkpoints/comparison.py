"""Whether two networks are made of the same, and what published generations of one differ in."""

from __future__ import annotations

from typing import Any

from segdistill.core.discovery import options_of, pick
from segdistill.models.catalog import ZOO
from segdistill.models.heads import Head
from segdistill.models.spec import NetworkSpec
from segdistill.models.zoo import resolve_spec

_NOT_SHOWN = ("output_stride", "dropout", "auxiliary_weight", "mean", "std", "bgr")
"""Fields that no tensor of a file depends on."""


def name_in_zoo(spec: NetworkSpec) -> NetworkSpec:
    """A spec under the name of the zoo's entry that is made of the same, if there is one.

    Args:
        spec: What a network is made of.

    Returns:
        It, with `name` where the zoo has it.
    """
    for name in ZOO:
        candidate = resolve_spec({"name": name})
        if same_network(candidate.model_copy(update={"sigmoid": spec.sigmoid}), spec):
            return spec.model_copy(update={"name": name})
    return spec


def same_network(a: NetworkSpec, b: NetworkSpec) -> bool:
    """Whether two networks are made of the same, with the defaults of their heads written out.

    Args:
        a: What one is made of.
        b: What the other is made of.
    """
    return _fields(a) == _fields(b)


def same_family(a: NetworkSpec, b: NetworkSpec) -> bool:
    """Whether two networks differ only in what published generations differ in: stem, widths, normalization.

    Args:
        a: What one is made of.
        b: What the other is made of.

    Returns:
        Whether backbone, head and the presence of an auxiliary head are the same.
    """

    def family(spec: NetworkSpec) -> tuple[str, str, bool]:
        backbone = spec.backbone.rpartition("_")[0] if spec.backbone.startswith("resnet") else spec.backbone
        backbone = "mobilenetv2" if backbone.startswith("mobilenetv2") else backbone
        return backbone, head_name(spec), spec.auxiliary_channels > 0

    return family(a) == family(b)


def head_name(spec: NetworkSpec) -> str:
    """The name of a network's head.

    Args:
        spec: What it is made of.

    Returns:
        A module of `heads`.
    """
    return spec.head if isinstance(spec.head, str) else str(spec.head.get("name", "fcn"))


def with_choices(spec: NetworkSpec, chosen: NetworkSpec) -> NetworkSpec:
    """A spec with what was chosen for another one of its family, and no tensor shows.

    Args:
        spec: What a file's network is made of.
        chosen: What a user's is made of.

    Returns:
        `spec`, with output stride, dropout and normalization as `chosen` has them where they are not those of the
        zoo's network of that name.
    """
    if chosen.name not in ZOO:
        return spec
    usual = resolve_spec({"name": chosen.name})
    kept = {key: getattr(chosen, key) for key in _NOT_SHOWN if getattr(chosen, key) != getattr(usual, key)}
    return spec.model_copy(update=kept)


def _fields(spec: NetworkSpec) -> dict[str, Any]:
    """The fields of `spec` with every default of its head written out, to compare networks by."""
    head = {} if isinstance(spec.head, str) else {key: value for key, value in spec.head.items() if key != "name"}
    if spec.channels is not None:
        head["channels"] = spec.channels
    options = options_of(pick("segdistill.models.heads", Head, head_name(spec), "head"))(**head).model_dump()
    plain = spec.model_dump(exclude={"name", "head", "channels", "backbone_weights"})
    return {**plain, "head": {"name": head_name(spec), **options}}
