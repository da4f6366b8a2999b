"""How networks are run and scored: the recipe's sections `inference` and `metrics`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from segdistill.core.classes import Classes
from segdistill.core.errors import RecipeError, nearest
from segdistill.core.numbers import Count

Radius = Annotated[int, Field(ge=1, le=255)]


class InferenceConfig(BaseModel):
    """From an image to scores at its size; the same for validation, `evaluate` and `predict`.

    Attributes:
        mode: a view goes through the network "whole", or in windows ("slide"). Where windows overlap their logits are
            averaged.
        crop: (H,W) of a window; a view smaller than that is one window.
        stride: (H,W) pixels from one window to the next, the last ones moved inwards; default two thirds of the crop.
        fit: (a, b), the image is first brought, its shape kept, to the largest size whose longer side is at most max(a,
            b) and whose shorter side is at most min(a, b); null: it keeps its size.
        scales: each view is that many times as large.
        flip: whether each view is seen mirrored as well.
        average: whether views meet as "logits" or as "probabilities".
        align_corners: of the scores' bilinear resizing.
        align_images: of the images' bilinear resizing.
        upsample: logits go to the image's size "direct", or "stepwise" to the view's size and then to the image's.
        batch: windows a pass.
        store: where the sums of windows are kept, on the network's "device" or on the "cpu".
        max_elements: most scores (images x classes x H x W) at image size that are held at once, and most logits of
            windows unless a row of four windows has more.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["whole", "slide"] = "whole"
    crop: tuple[Count, Count] | None = None
    stride: tuple[Count, Count] | None = None
    fit: tuple[Count, Count] | None = None
    scales: tuple[Annotated[float, Field(gt=0, le=16)], ...] = Field((1.0,), min_length=1)
    flip: bool = False
    average: Literal["logits", "probabilities"] = "probabilities"
    align_corners: bool = False
    align_images: bool = False
    upsample: Literal["direct", "stepwise"] = "direct"
    batch: int = Field(4, ge=1)
    store: Literal["device", "cpu"] = "device"
    max_elements: int = Field(1 << 25, ge=1)

    @model_validator(mode="after")
    def _windows_cover(self) -> InferenceConfig:
        if self.mode == "slide" and self.crop is None:
            raise ValueError("mode slide needs the size of its windows, as crop=[480,480]")
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


class MetricsConfig(BaseModel):
    """What `evaluate` measures beyond the confusion matrix, and how.

    Attributes:
        absent: a class that is neither labelled nor predicted is left out of the means ("nan"), or counts in them as
            "zero".
        ignore: classes, by name or index, that are no part of any mean, such as [background]; they keep their rows,
            and their pixels count as errors of the others as ever.
        boundary: whether boundary IoU, boundary F-score, trimaps, edge and body are measured.
        trimap_radii: r of the (2r+1)^2 windows that make a pixel part of a trimap.
        edge_radius: r of the window that parts edge from body.
        boundary_ratio: width of boundary IoU's bands as a share of the image's diagonal.
        tolerance: of the boundary F-score, in pixels, or below 1 as a share of the diagonal.
        calibration: whether the expected calibration error is measured.
        bins: equal bins of confidence that it is measured by.
        agreement: with the run's teacher (or `teacher.weights`), which then runs on every image as well.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    absent: Literal["nan", "zero"] = "nan"
    ignore: Annotated[tuple[str | int, ...], BeforeValidator(_one_or_more)] = ()
    boundary: bool = True
    trimap_radii: tuple[Radius, ...] = Field((1, 3, 5, 10), min_length=1)
    edge_radius: Radius = 3
    boundary_ratio: float = Field(0.02, gt=0, lt=1)
    tolerance: float = Field(3, gt=0, le=255)
    calibration: bool = False
    bins: int = Field(15, ge=1, le=1000)
    agreement: bool = False

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

    @model_serializer(mode="wrap")
    def _without_the_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        if not self.ignore:  # recipes of runs that ignore none stay the same
            written.pop("ignore")
        return written


def _index(key: str | int, classes: Classes) -> int:
    """The index of the class that `key` names, or is."""
    if key in classes.names:
        return classes.names.index(str(key))
    if str(key).isdecimal() and int(key) < len(classes):
        return int(key)
    raise RecipeError(f"Key 'metrics.ignore': the data set has no class {key!r}.{nearest(str(key), classes.names)}")
