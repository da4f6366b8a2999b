"""The keys of `pretrain`: whose features a backbone imitates, and on which images."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from segdistill.core.numbers import NonNegative
from segdistill.core.paths import HomePaths
from segdistill.core.typed_settings import TypedSettings


class PretrainConfig(TypedSettings):
    """What `segdistill pretrain` does: a backbone without classes teaches the student's backbone its features."""

    teacher: str | None = None
    """The backbone that teaches: a network of timm, as vit_small_patch14_dinov2.lvd142m, or hf:FOLDER, a vision model
    of transformers; `pretrain` needs one."""

    teacher_weights: str | None = "pretrained"
    """What a network of timm is filled with: "pretrained" (timm downloads it), a file, or a folder with
    <teacher>.safetensors; null leaves it random."""

    teacher_options: dict[str, Any] = Field({})
    """Further arguments of timm's constructor, as {img_size: 518}."""

    input_scale: float = Field(1.0, ge=0.125, le=8)
    """How many times the student's image size the teacher sees the image at."""

    images: HomePaths = ()
    """A folder of images, or several, sub-folders included; by default the training images of `data`, without their
    masks, and those of `data.extra`."""

    cosine_weight: NonNegative = 0.9
    """The weight of the cosine distance between the features."""

    smooth_l1_weight: NonNegative = 0.1
    """The weight of their smooth L1 distance."""
