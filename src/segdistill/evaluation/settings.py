"""How networks are run and scored: the recipe's sections `inference` and `metrics`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from segdistill.core.classes import Classes
from segdistill.core.errors import RecipeError, nearest
from segdistill.core.numbers import Size
from segdistill.core.precision import PrecisionKey
from segdistill.core.typed_settings import WRITTEN_IF_SET, TypedSettings

Radius = Annotated[int, Field(ge=1, le=255)]


class InferenceConfig(TypedSettings):
    """How an image becomes scores at its size; the same for validation, `evaluate` and `predict`."""

    mode: Literal["whole", "slide"] = "whole"
    """Whether a view goes through the network "whole", or in windows ("slide"), whose logits are averaged where they
    overlap."""

    crop: Size | None = None
    """The size of a window (H,W) in pixels, which "slide" needs; a smaller view is one window."""

    stride: Size | None = None
    """The pixels (H,W) from one window to the next, the last ones moved inwards; null is two thirds of `crop`."""

    fit: Size | None = None
    """The size (a,b) that an image is brought to first, its shape kept: the largest whose longer side is at most
    max(a,b) and whose shorter side is at most min(a,b) pixels; null keeps its size."""

    size_divisor: int = Field(1, ge=1)
    """What the sides of whole images are brought to multiples of, by repeating their border at the bottom and on the
    right; the scores there are cut off. Where the stride of the coarsest map does not divide a side, as 16 does not
    360, the map covers more than the image and is stretched over it: what it shows then lies some pixels off."""

    scales: tuple[Annotated[float, Field(gt=0, le=16)], ...] = Field((1.0,), min_length=1)
    """The views of an image, each that many times as large; the default is the image itself alone."""

    flip: bool = False
    """Whether each view is also run mirrored."""

    average: Literal["logits", "probabilities"] = "probabilities"
    """What is averaged over the views."""

    align_corners: bool = False
    """Whether the bilinear resizing of scores aligns the corner pixels."""

    align_images: bool = False
    """Whether the bilinear resizing of images aligns the corner pixels."""

    upsample: Literal["direct", "stepwise"] = "direct"
    """Whether logits go to the image's size "direct", or "stepwise" to the view's size first."""

    precision: Annotated[PrecisionKey, WRITTEN_IF_SET] = "auto"
    """What networks compute in: "fp32", "bf16" or "fp16". "auto" evaluates 16 images or more in bf16 where it is much
    faster here and leaves the class of 99.95 % of the pixels of two images as it is, with the last layer in fp32 and,
    if need be, the first quarter or half of them; else in fp32, as it predicts."""

    batch: int = Field(4, ge=1)
    """Windows in one pass through the network."""

    store: Literal["device", "cpu"] = "device"
    """Where the sums of windows are kept: on the network's "device", or on the "cpu" to spare a GPU's memory."""

    max_elements: int = Field(1 << 25, ge=1)
    """The most scores (images x classes x H x W) at image size that are held at once, and the most logits of windows,
    unless a row of four windows has more."""

    @model_validator(mode="after")
    def _windows_cover(self) -> InferenceConfig:
        if self.mode == "slide" and self.crop is None:
            raise ValueError("mode slide needs the size of its windows, as crop=480x480")
        if self.crop and self.stride and (self.stride[0] > self.crop[0] or self.stride[1] > self.crop[1]):
            raise ValueError(
                f"stride {list(self.stride)} is larger than crop {list(self.crop)}: pixels would be left out"
            )
        return self

    @property
    def window_stride(self) -> tuple[int, int]:
        """The stride, or two thirds of the crop."""
        assert self.crop is not None
        return self.stride or (-(-2 * self.crop[0] // 3), -(-2 * self.crop[1] // 3))


def _one_or_more(value: Any) -> Any:
    """A single class as a list of one."""
    return [value] if isinstance(value, str | int) else value


class MetricsConfig(TypedSettings):
    """What `evaluate` measures beyond the confusion matrix, and how."""

    absent: Literal["nan", "zero"] = "nan"
    """Whether a class that is neither labelled nor predicted is left out of the means ("nan"), or counts as "zero"."""

    ignore: Annotated[
        tuple[str | int, ...],
        BeforeValidator(_one_or_more, json_schema_input_type=str | int | list[str | int]),
        WRITTEN_IF_SET,
    ] = ()
    """Classes, by name or index, that are no part of any mean, such as [background]; they keep their rows, and their
    pixels count as errors of the others as ever. The default leaves none out."""

    boundary: bool = True
    """Whether boundary IoU, boundary F-score, trimaps, edge and body are measured."""

    trimap_radii: tuple[Radius, ...] = Field((1, 3, 5, 10), min_length=1)
    """The radii r in pixels of the trimaps: pixels whose (2r+1)^2 window holds several classes."""

    edge_radius: Radius = 3
    """The radius in pixels of the trimap that parts edge from body; 3 is BPKD's edge of width 7."""

    boundary_ratio: float = Field(0.02, gt=0, lt=1)
    """The width of boundary IoU's bands as a share of the image's diagonal; 0.02 is the published one."""

    tolerance: float = Field(3, gt=0, le=255)
    """How far contours may lie apart in the boundary F-score: pixels, or below 1 a share of the diagonal."""

    calibration: bool = False
    """Whether the expected calibration error is measured."""

    bins: int = Field(15, ge=1, le=1000)
    """Equal bins of confidence that the calibration error is taken over."""

    agreement: bool = False
    """Whether agreement with the run's teacher (or `teacher.weights`) is measured, which then sees every image too."""

    def confusion_only(self) -> MetricsConfig:
        """Only what the confusion matrix gives, which costs next to nothing: for validation and tables."""
        return MetricsConfig(absent=self.absent, ignore=self.ignore, boundary=False, calibration=False)

    def ignored(self, classes: Classes) -> tuple[int, ...]:
        """The indices of the classes that are no part of the means.

        Args:
            classes: of the data set.

        Raises:
            RecipeError: one is not there, or none is left.
        """
        indices = tuple(_index(key, classes) for key in self.ignore)
        if len(set(indices)) == len(classes):
            raise RecipeError("Key 'metrics.ignore' leaves out every class, so that there is no mean. Keep some.")
        return indices


def _index(key: str | int, classes: Classes) -> int:
    """The index of the class that `key` names, or is."""
    if key in classes.names:
        return classes.names.index(str(key))
    if str(key).isdecimal() and int(key) < len(classes):
        return int(key)
    raise RecipeError(f"Key 'metrics.ignore': the data set has no class {key!r}.{nearest(str(key), classes.names)}")
