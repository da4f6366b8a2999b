"""What `segdistill export` can be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from segdistill.core.discovery import explain
from segdistill.core.errors import RecipeError
from segdistill.core.numbers import Count, NonNegative, Positive, Size
from segdistill.core.paths import HomePath
from segdistill.core.typed_settings import TypedSettings
from segdistill.models.exported.description import Input, Outputs, Precision
from segdistill.recipe.composition import key_values, require_keys

Format = Literal["onnx", "openvino", "torch"]
Wanted = Literal["onnx", "openvino", "torch", "web"]
Calibration = Literal["mean", "minmax", "entropy", "percentile"]
SUFFIX: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}

_TRAINED = {"steps", "lr"}
_INT8 = {"per_channel", "images", "calibration", "max_drop"}
"""Settings of int8=train, and of any int8."""

_MOST_PIXELS = 8192**2


def _any_size(value: Any) -> Any:
    """ "any" as None."""
    return None if value == "any" else value


class ExportSettings(TypedSettings):
    """What `export` writes."""

    format: Wanted = "onnx"
    """What is written: onnx, openvino (made from the ONNX file), torch (an ExportedProgram, .pt2) or web (a folder with
    a page that runs the ONNX file in the browser)."""

    ort: str | None = None
    """Of format=web: the folder of the npm package onnxruntime-web, or the address of a CDN that has its files; without
    it the package that npm has installed here."""

    size: Annotated[Size | None, BeforeValidator(_any_size)] = None
    """The size of the images, as 512x1024, or any; the number of images in a batch is free in either case."""

    outputs: Outputs = "classes"
    """What comes out: classes, class indices (N,H,W); logits (N,K,H,W); small, logits at the head's stride."""

    input: Input = "float"
    """What goes in: float, RGB (N,3,H,W) in [0,1], or uint8, RGB (N,H,W,3)."""

    fp16: bool = False
    """Weights in half precision, where the format can; input and output stay as they are."""

    int8: bool | Literal["train"] = False
    """A file in 8-bit integers as well, and what that costs in mIoU; train first trains the student for it."""

    per_channel: bool = True
    """Whether 8-bit weights have a scale a channel, or one a tensor, as some devices want."""

    images: Count = 64
    """How many training images the ranges of activations are calibrated with."""

    seed: int = Field(0, ge=0)
    """Which of them; and the order of the images of int8=train."""

    calibration: Calibration = "mean"
    """How ranges are made of what was seen, for ONNX: mean, of each image's least and largest value; minmax, those of
    all images; entropy or percentile."""

    steps: Count = 300
    """Steps of int8=train."""

    lr: Positive = 3e-4
    """The highest learning rate of int8=train, for weights."""

    max_drop: NonNegative = 1.0
    """How many points of mIoU the INT8 file may lose on validation."""

    license: str = "not stated"
    """The license of the network, for the file's metadata."""

    out: HomePath | None = None
    """The folder that is written; without it the folder export of the run, or web for format=web."""

    @model_validator(mode="after")
    def _possible(self) -> ExportSettings:
        if self.format == "torch" and (self.fp16 or self.int8):
            raise ValueError("fp16 and int8 are for format=onnx and format=openvino; a .pt2 is float32")
        if self.fp16 and self.int8:
            raise ValueError("fp16 and int8 exclude each other; export twice, into one folder")
        if self.size is not None and self.size[0] * self.size[1] > _MOST_PIXELS:
            raise ValueError("size has more than 8192x8192 pixels, which no network here is run on")
        if self.format == "web" and self.outputs != "classes":
            raise ValueError("format=web shows classes; outputs=logits and small are for other formats")
        if self.ort is not None and self.format != "web":
            raise ValueError("ort is for format=web")
        if self.int8 == "train" and self.file_format != "onnx":
            raise ValueError("int8=train is for format=onnx: the ranges that it learns are those of onnxruntime")
        if self.int8 and self.calibration != "mean" and self.file_format != "onnx":
            raise ValueError("calibration is for format=onnx; OpenVINO's files are quantized by NNCF")
        if not self.per_channel and self.file_format != "onnx":
            raise ValueError("per_channel=false is for format=onnx")
        for needed, keys in (("int8=train", _TRAINED), ("int8=true or train", _INT8)):
            idle = sorted(self.model_fields_set & keys)
            if idle and not (self.int8 == "train" if keys is _TRAINED else self.int8):
                raise ValueError(f"{', '.join(idle)} would do nothing here, only with {needed}")
        return self

    @property
    def file_format(self) -> Format:
        """Of the files of the network."""
        return "onnx" if self.format == "web" else self.format

    @property
    def precision(self) -> Precision:
        """Of the first file that is written."""
        return "float16" if self.fp16 else "float32"


def check_settings(model: type[BaseModel], words: Sequence[str | Path], given: dict[str, Any]) -> tuple[Any, list[str]]:
    """Settings and recipe parts from what stands on a command line.

    Args:
        model: The class of the settings.
        words: `key=value` of settings, and parts of a recipe, in any order.
        given: Settings by keyword, which win.

    Returns:
        The checked settings and the parts of a recipe.

    Raises:
        RecipeError: A setting is wrong, or a key is neither a setting nor of a recipe.
    """
    settings = [str(word) for word in words if str(word).partition("=")[0] in model.model_fields and "=" in str(word)]
    parts = [str(word) for word in words if str(word) not in settings]
    from segdistill.recipe.recipe import Recipe  # imports torch, which --help does not need

    require_keys(parts, {*model.model_fields, *Recipe.model_fields, "preset"})
    try:
        return model.model_validate({**key_values(settings), **given}), parts
    except ValidationError as error:
        raise RecipeError("\n".join(explain(error, model))) from error
