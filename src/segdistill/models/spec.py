"""What a network is made of: enough to build it again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from segdistill.core.numbers import Count, NonNegative, Positive

Role = Literal["student", "teacher"]
"""Which network of a distillation."""


Predicts = Literal["classes", "edges", "details"]
"""What an auxiliary head predicts; see `AuxiliarySpec`."""


class AuxiliarySpec(BaseModel):
    """An auxiliary head with a classifier of its own, which only training reads.

    Attributes:
        head: A head's name, or {name: .., options of it}; the option stage says what it reads.
        predicts: "classes"; "edges": one channel, where the labels change (PIDNet); "details": two channels, whether a
            pixel is one where the labels change at one of three scales (STDC).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    head: str | dict[str, Any] = "fcn"
    predicts: Predicts = "classes"


class NetworkSpec(BaseModel):
    """What a network is made of; enough to build it again.

    Attributes:
        name: A network of the zoo, whose fields the others override, or one of another library, such as "hf:FOLDER" or
            "smp:unet/resnet18" (docs/adapters.md).
        backbone: A timm network that gives its stages, or one of `variants`.
        head: A head's name, or {name: .., options of it}.
        channels: Width of the head; null for its default.
        output_stride: 8, 16 or 32 where the backbone can; null for its default.
        auxiliary_channels: Width of the auxiliary FCN head on the last stage but one, 0 for none.
        auxiliary_heads: Further auxiliary heads, as `AuxiliarySpec` describes each.
        auxiliary_weight: Of the auxiliary heads' losses beside the head's, where the recipe does not say.
        dropout: The share of channels that is dropped before the classifier, while training.
        backbone_weights: null, "pretrained", a .safetensors file, or a folder with <backbone>.safetensors.
        backbone_options: Further arguments of the backbone.
        mean: Of RGB in [0,1], which the weights expect to be subtracted; default the backbone's.
        std: What they expect to be divided by then; default the backbone's.
        bgr: Whether they expect BGR.
        options: Of a network of another library.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    backbone: str = ""
    head: str | dict[str, Any] = "fcn"
    channels: Count | None = None
    output_stride: Count | None = None
    auxiliary_channels: int = Field(64, ge=0)
    auxiliary_heads: tuple[AuxiliarySpec, ...] = ()
    auxiliary_weight: NonNegative = 0.4
    dropout: float = Field(0.1, ge=0, lt=1)
    backbone_weights: str | None = None
    backbone_options: dict[str, Any] = {}
    mean: tuple[float, float, float] | None = None
    std: tuple[Positive, Positive, Positive] | None = None
    bgr: bool = False
    options: dict[str, Any] = {}


def is_adapted(name: str | Path | None) -> bool:
    """Whether `name` is `<prefix>:<source>`, a network of another library (and not a drive of Windows)."""
    return name is not None and re.match(r"[A-Za-z]\w+:", str(name)) is not None
