"""What becomes of a network's predictions: the format, and what is left to people."""

from __future__ import annotations

from typing import Literal, TypedDict

from pydantic import Field

from segdistill.core.numbers import Share
from segdistill.core.typed_settings import TypedSettings

LabelFormat = Literal["masks", "coco", "labelme", "cvat", "labelstudio"]


class LabelKeys(TypedDict, total=False):
    """The keys of `LabelSettings` as keyword arguments."""

    format: LabelFormat
    min_area: int
    void_below: float | None
    alpha: float
    batch_size: int
    executor: Literal["local", "ray"]


class LabelSettings(TypedSettings):
    """How predictions are written."""

    format: LabelFormat = "masks"
    """What is written beside index masks: overlays (masks), annotations.json (coco), a JSON an image (labelme),
    annotations.xml (cvat, for images), tasks.json (labelstudio)."""

    min_area: int = Field(0, ge=0)
    """The least pixels of a connected area of one class; smaller ones become void."""

    void_below: Share | None = None
    """The probability of its class below which a pixel becomes void; without it none does."""

    alpha: Share = 0.5
    """The strength of the colors in the overlays, from 0 to 1."""

    batch_size: int = Field(1, ge=1)
    """Images of one size that go through the network together."""

    executor: Literal["local", "ray"] = "local"
    """Where images are predicted: here, or on the cluster of RAY_ADDRESS, where paths must be the same."""
