"""What a network is made of: enough to build it again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr

from segdistill.core.numbers import Count, NonNegative, Positive
from segdistill.core.pixels import normalization_fault
from segdistill.core.typed_settings import WRITTEN_IF_SET, TypedSettings

Role = Literal["student", "teacher"]
"""Which network of a distillation."""

InputChannels = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
"""Numbers of channels, from 0."""


def _of_unit_pixels(mean: tuple[float, ...]) -> tuple[float, ...]:
    """A mean of pixels in [0,1]; one of 0 to 255 is refused."""
    fault = normalization_fault(mean, (1.0,) * len(mean))
    if fault:
        raise ValueError(fault)
    return mean


Predicts = Literal["classes", "edges", "details"]
"""What an auxiliary head predicts; see `AuxiliarySpec`."""


class AuxiliarySpec(TypedSettings):
    """An auxiliary head with a classifier of its own, which only training reads."""

    head: str | dict[str, Any] = "fcn"
    """The name of a head, or a mapping {name: .., options of it}; the option stage says what it reads."""

    predicts: Predicts = "classes"
    """What it predicts: "classes"; "edges", one channel, where the labels change (PIDNet); or "details", two channels,
    whether a pixel is one where the labels change at one of three scales (STDC)."""


class NetworkSpec(TypedSettings):
    """What a network is made of; enough to build it again."""

    name: str | None = None
    """A network of the zoo, whose keys the others override, or one of another library, such as "hf:FOLDER" or
    "smp:unet/resnet18" (docs/adapters.md); null where `backbone` says what it is."""

    backbone: str = ""
    """The name of a timm network that gives its stages, or one of `models/variants.py`; needed where `name` is null."""

    head: str | dict[str, Any] = "fcn"
    """The name of a head, or a mapping {name: .., options of it}; "fcn" is one 3x3 convolution."""

    channels: Count | None = None
    """The width of the head in channels; null is the head's default."""

    output_stride: Count | None = None
    """The stride of the backbone's last stage in pixels, 8, 16 or 32 where it can; null is its own."""

    auxiliary_channels: int = Field(64, ge=0)
    """The width in channels of the auxiliary FCN head on the last stage but one, for training only; 0 has none."""

    auxiliary_heads: tuple[AuxiliarySpec, ...] = ()
    """Further auxiliary heads; the default has none."""

    auxiliary_weight: NonNegative = 0.4
    """The weight of the auxiliary heads' losses beside the head's, where the recipe does not say."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """The share of channels that is dropped before the classifier while it trains."""

    backbone_weights: str | None = None
    """What the backbone starts from: "pretrained" (timm downloads it), a .safetensors or .pth file, a folder with
    <backbone>.safetensors, or the run folder of a `pretrain`; null starts from random weights."""

    backbone_options: dict[str, Any] = Field({})
    """Further arguments of the backbone, by timm's names."""

    input_channels: Annotated[InputChannels | None, WRITTEN_IF_SET] = None
    """Which channels of the images it sees, by their numbers from 0, as [0, 1, 2]; null is all that `data.channels`
    has. Other than three make a first convolution of so many inputs, whose pretrained filters are adapted."""

    mean: Annotated[tuple[float, ...], Field(min_length=1), AfterValidator(_of_unit_pixels)] | None = None
    """What the weights expect to be subtracted from each channel in [0,1]; null is the backbone's own for RGB, which
    other channels take in turn (R, G, B, R, ...), and a single one as their mean."""

    std: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    """What the weights expect each channel in [0,1] to be divided by then; null as of `mean`."""

    bgr: bool = False
    """Whether the weights expect the channels as BGR."""

    sigmoid: Annotated[bool, WRITTEN_IF_SET] = False
    """Whether the two classes of a data set are one sigmoid score, of the second class against the rest; false scores
    each class."""

    options: dict[str, Any] = Field({})
    """Options of a network of another library (docs/adapters.md)."""

    _module: Any = PrivateAttr(None)
    """The network itself, where it was handed in as an object; see `models/live.py`."""


def is_adapted(name: str | Path | None) -> bool:
    """Whether a name is `<prefix>:<source>`, a network of another library (and not a drive of Windows).

    Args:
        name: A name or path.
    """
    return name is not None and re.match(r"[A-Za-z]\w+:", str(name)) is not None
