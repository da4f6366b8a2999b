"""Data sets that are handed in as objects: any map from index to (image, mask)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX, Classes, distinct_colors
from segdistill.core.errors import DataError, RecipeError
from segdistill.core.pixels import RGB_BYTES, PixelFormat
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.channels import as_image
from segdistill.data.formats import more_bits
from segdistill.data.spread import chosen

EVERY = 5
"""Of a single data set every so many-th sample is for validation, as of a `folder`."""

_LOOKED_AT = 500


class Samples(Protocol):
    """A map-style data set of (image, mask).

    An image is a PIL image, uint8 (H,W,3) as an array or (3,H,W) as a tensor, or floats in [0,1] of that shape; a mask
    is a PIL image or whole numbers (H,W), class indices and 255 for void; or None for an image without a mask.

    It may have a method is_labeled(index), which says whether a sample has a mask. Without it up to 500 samples are
    read before training begins, and all of them if one of these has no mask.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class LiveSamples(SegmentationDataset):
    """Some samples of a data set that was handed in, as samples of this library.

    Args:
        samples: What was handed in.
        indices: Of the samples that are taken.
        classes: Of the masks.
        labeled: Whether samples have a mask, by their index in what was handed in, as far as they were read. It is
            added to, so that all splits of a data set can share it.
    """

    def __init__(
        self, samples: Samples, indices: Sequence[int], classes: Classes, labeled: dict[int, bool] | None = None
    ) -> None:
        self.samples, self.indices, self.classes = samples, indices, classes
        self._labeled = {} if labeled is None else labeled
        self._all_labeled: bool | None = None  # None before it was looked at
        self.pixels = samples.pixels if isinstance(samples, SegmentationDataset) else RGB_BYTES

    def __len__(self) -> int:
        return len(self.indices)

    def is_labeled(self, index: int) -> bool:
        """Whether a sample has a mask, as the data set says; if it has no such method, samples are read for it.

        Args:
            index: From 0 to len - 1, among the samples that are taken.
        """
        number, ask = self.indices[index], getattr(self.samples, "is_labeled", None)
        if callable(ask):
            return bool(ask(number))
        if self._all_labeled is None:
            self._all_labeled = all(map(self._has_mask, chosen(len(self), _LOOKED_AT)))
        return self._all_labeled or self._has_mask(index)

    def _has_mask(self, index: int) -> bool:
        """Of a sample that is read for it, once."""
        number = self.indices[index]
        if number not in self._labeled:
            try:
                self._labeled[number] = _has_mask(self.samples[number])
            except DataError:  # training may put another sample in its place
                return True
        return self._labeled[number]

    def name(self, index: int) -> str:
        """What a sample is called.

        Args:
            index: From 0 to len - 1, among the samples that are taken.

        Returns:
            Its name if the data set is one of this library, else its index in what was handed in, of six digits.
        """
        ours = isinstance(self.samples, SegmentationDataset)
        return self.samples.name(self.indices[index]) if ours else f"{self.indices[index]:06d}"  # type: ignore[attr-defined]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = self.indices[index]
        value = self.samples[number]
        self._labeled[number] = _has_mask(value)
        if isinstance(value, Sample):
            return value
        if not (isinstance(value, tuple | list) and len(value) == 2):
            raise DataError(f"Sample {number} is {_kind(value)}; expected (image, mask).")
        image = as_pixels(value[0], f"the image of sample {number}")
        height, width = image.shape[1:]
        if value[1] is None:
            label = torch.full((height, width), IGNORE_INDEX, dtype=torch.uint8)
            return Sample(image, label, f"{number:06d}", labeled=False)
        return Sample(image, self._label(value[1], (height, width), number, _orientation(value[0])), f"{number:06d}")

    def _label(self, value: Any, size: tuple[int, int], number: int, turn: int) -> Tensor:
        """The mask of an image of `size`, which was turned by its EXIF orientation `turn`."""
        mask_turn = _orientation(value)
        mask = value if isinstance(value, Tensor) else _as_tensor(value)
        mask = mask[0] if mask.ndim == 3 and mask.shape[0] == 1 else mask
        fits = tuple(mask.shape) == size
        if turn != mask_turn and not (turn >= 5 and fits and size[0] != size[1]):
            raise DataError(
                f"The image of sample {number} has EXIF orientation {turn} and its mask {mask_turn}, so it is not "
                "certain whether the mask was drawn on the picture as shown or as stored. Hand in the picture as the "
                "mask lies on it: as shown, PIL.ImageOps.exif_transpose(image); as stored, "
                'numpy.asarray(image.convert("RGB")).'
            )
        if not fits or mask.is_floating_point() or mask.is_complex():
            raise DataError(
                f"The mask of sample {number} is {mask.dtype} {tuple(mask.shape)}; expected whole numbers of the "
                f"image's size {size} (H,W)."
            )
        mask = mask.long()  # torch compares no unsigned numbers of 16 bits and more
        wrong = mask[((mask < 0) | (mask >= len(self.classes))) & (mask != IGNORE_INDEX)]
        if len(wrong):
            raise DataError(
                f"The mask of sample {number} holds {int(wrong[0])}; expected 0 to {len(self.classes) - 1}, as there "
                f"are {len(self.classes)} classes, or {IGNORE_INDEX} for void."
            )
        return mask.to(torch.uint8)


def as_pixels(value: Any, what: str, form: PixelFormat = RGB_BYTES) -> Tensor:
    """An image that was handed in, as RGB uint8 (3,H,W), or in another form.

    Args:
        value: A PIL image, which is turned upright by its EXIF tag; an array (H,W,3) or tensor (3,H,W) of uint8 or of
            floats in [0,1].
        what: It is called in errors.
        form: What it must be. Of others than RGB of 8 bits, whole numbers are stored values, and floats in [0,1] are
            taken as they are.

    Raises:
        DataError: It is something else.
    """
    if isinstance(value, Image.Image):
        value = _upright(value)
    if not form.plain:
        return _as_channels(value, what, form)
    name = f"{what[:1].upper()}{what[1:]}"
    if isinstance(value, Image.Image):
        if value.mode.startswith(("I", "F")):
            raise DataError(f"{name} {more_bits(f'mode {value.mode}', 16 if ';16' in value.mode else 32)}")
        value = np.asarray(value.convert("RGB"))
    channels_first = isinstance(value, Tensor)
    pixels = value if isinstance(value, Tensor) else torch.as_tensor(np.array(value))
    if not channels_first and pixels.ndim == 3:
        pixels = pixels.permute(2, 0, 1)
    if pixels.is_floating_point() and pixels.numel() and float(pixels.min()) >= 0 and float(pixels.max()) <= 1:
        pixels = (pixels * 255).round().to(torch.uint8)
    if pixels.ndim != 3 or pixels.shape[0] != 3 or pixels.dtype != torch.uint8:
        raise DataError(
            f"{name} is {_kind(value)}; expected a PIL image, or RGB of 0 to 255 (uint8) or of "
            "[0,1] (float), as an array (H,W,3) or a tensor (3,H,W), not normalized."
        )
    return pixels.contiguous()


def _as_channels(value: Any, what: str, form: PixelFormat) -> Tensor:
    """An image that was handed in, as (C,H,W) of the channels that are expected."""
    array = value.permute(1, 2, 0).cpu().numpy() if isinstance(value, Tensor) and value.ndim == 3 else np.asarray(value)
    array = array[..., None] if array.ndim == 2 else array
    name = f"{what[:1].upper()}{what[1:]}"
    if array.ndim != 3 or array.dtype.kind not in "uif":
        raise DataError(f"{name} is {_kind(value)}; expected an array (H,W,C) or a tensor (C,H,W).")
    if array.dtype.kind == "f" and array.size and float(array.min()) >= 0 and float(array.max()) <= 1:
        return as_image(array, PixelFormat(form.channels, ((0.0, 1.0),)), name)
    return as_image(array, form, name)


@dataclass(frozen=True)
class LiveData:
    """Training and validation samples that were handed in.

    Attributes:
        train: For training.
        val: For validation; None takes every fifth sample of `train` for it, and leaves it out of training.
        classes: Names and colors.
    """

    train: Samples
    val: Samples | None
    classes: Classes
    _labeled: dict[str, dict[int, bool]] = field(
        default_factory=lambda: {"train": {}, "val": {}}, init=False, repr=False, compare=False
    )

    def split(self, name: str) -> LiveSamples:
        """The samples for training or for validation.

        Args:
            name: "train" or "val".

        Returns:
            The samples; where no `val` was handed in, every fifth of `train` is for it and the others for training.

        Raises:
            DataError: It is "test", of which there are none.
        """
        if name == "test":
            raise DataError("A data set that was handed in has train and val, and no test images.")
        if self.val is not None:
            samples = self.train if name == "train" else self.val
            return LiveSamples(samples, range(len(samples)), self.classes, self._labeled[name])
        every = range(len(self.train))
        chosen = every[::EVERY] if name == "val" else [index for index in every if index % EVERY]
        return LiveSamples(self.train, chosen, self.classes, self._labeled["train"])

    def described(self) -> dict[str, Any]:
        """What a recipe can say of it."""
        kinds = {"train": self.train, "val": self.val}
        described = {key: f"{_kind(each)}, {len(each)} samples" for key, each in kinds.items() if each is not None}
        return {**described, "classes": list(self.classes.names)}


def live_data(value: Any) -> LiveData:
    """What was handed in as `data`.

    Args:
        value: A data set, (train, val), or {"train": .., "val": .., "classes": names}.

    Raises:
        RecipeError: It is none of these, it is empty, or nothing says which classes there are.
    """
    keys = dict(value) if isinstance(value, Mapping) else {}
    if isinstance(value, tuple) and len(value) == 2:
        keys = {"train": value[0], "val": value[1]}
    elif not keys:
        keys = {"train": value}
    train, val, classes = (keys.pop(key, None) for key in ("train", "val", "classes"))
    for each in [train] if val is None else [train, val]:
        if keys or not (hasattr(each, "__len__") and hasattr(each, "__getitem__")) or not len(each):
            raise RecipeError(
                f"data: found {_kind(value)}. Expected the name of a data set, its keys, a map-style data set of "
                "(image, mask), or {'train': .., 'val': .., 'classes': [..]} of such."
            )
    classes = classes if classes is not None else getattr(train, "classes", None)
    if isinstance(classes, Classes):
        return LiveData(train, val, classes)
    if not isinstance(classes, list | tuple) or len(classes) < 2:
        raise RecipeError(
            f"data: nothing says which classes {_kind(train)} has. Give it an attribute `classes` with their names, or "
            "hand in data={'train': .., 'classes': ['road', ..]}."
        )
    return LiveData(train, val, Classes(tuple(map(str, classes)), distinct_colors(len(classes))))


def _kind(value: Any) -> str:
    """What an object is, without its content, which may be large."""
    if hasattr(value, "shape"):
        return f"{type(value).__name__} {getattr(value, 'dtype', '')} {tuple(value.shape)}"
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _has_mask(value: Any) -> bool:
    """Whether a sample that was handed in has a mask. One that is no sample is refused when it is read."""
    if isinstance(value, Sample):
        return value.labeled
    return not (isinstance(value, tuple | list) and len(value) == 2 and value[1] is None)


def _orientation(value: Any) -> int:
    """How a PIL image asks to be turned, 1 to 8; 1, upright, of anything else."""
    if not isinstance(value, Image.Image):
        return 1
    value.load()  # Pillow turns a TIFF by itself, and only then its tag says so
    turn = value.getexif().get(ExifTags.Base.Orientation, 1)
    return turn if turn in range(1, 9) else 1


def _as_tensor(mask: Any) -> Tensor:
    """A mask that was handed in, upright; torch takes numbers in the byte order of this machine alone."""
    values = np.array(_upright(mask) if isinstance(mask, Image.Image) else mask)
    return torch.as_tensor(values.astype(values.dtype.newbyteorder("="), copy=False))


def _upright(picture: Image.Image) -> Image.Image:
    return picture if _orientation(picture) == 1 else ImageOps.exif_transpose(picture)
