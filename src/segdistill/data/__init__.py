"""Data sets, one file each, and the batches made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import BeforeValidator, ConfigDict, PrivateAttr, model_validator

from segdistill.core.classes import IGNORE_INDEX, Classes
from segdistill.core.discovery import check_options, classes_in, pick
from segdistill.core.errors import DataError, RecipeError
from segdistill.core.paths import HomePath
from segdistill.core.pixels import RGB, RGB_BYTES, PixelFormat
from segdistill.core.typed_settings import MAY_CHANGE, WRITTEN_IF_SET, TypedSettings
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.decoded import Decoded
from segdistill.data.labelled import labeled_indices
from segdistill.data.live import LiveData, live_data
from segdistill.data.own_folder.options import as_pixel_format
from segdistill.data.unlabeled import ExtraConfig, Mixed, Part, Unlabeled

__all__ = [
    "IGNORE_INDEX",
    "Classes",
    "DatasetConfig",
    "Sample",
    "SegmentationDataset",
    "create_dataset",
    "dataset_names",
    "labeled_part",
    "pixels_of",
    "training_images",
    "with_unlabeled",
]


DATASETS = "segdistill.data.datasets"
"""The package whose modules are the data sets."""


def dataset_names() -> dict[str, type[SegmentationDataset]]:
    """All data sets by name."""
    return classes_in(DATASETS, SegmentationDataset)


LIVE = "live"
"""What a recipe calls a data set that was handed in as an object."""


def _folders(value: Any) -> Any:
    """A folder of images, or several, as the section that has them."""
    return {"images": value} if isinstance(value, str | list | tuple) else value


class DatasetConfig(TypedSettings):
    """A data set by name; its other keys are the options of the data set's class."""

    model_config = ConfigDict(extra="allow")
    name: str
    """Which data set it is: one of `segdistill list datasets`, or package.module:Class."""

    extra: Annotated[
        ExtraConfig | None,
        BeforeValidator(_folders, json_schema_input_type=str | list[str] | ExtraConfig | None),
        WRITTEN_IF_SET,
    ] = None
    """Unlabelled images that a student learns from as well, from its teacher alone; null for none."""

    decoded: Annotated[HomePath | None, WRITTEN_IF_SET, MAY_CHANGE] = None
    """The folder that keeps the pixels of training images and masks, so that only their first epoch decodes files; null
    keeps none. Samples are the same either way."""

    _live: LiveData | None = PrivateAttr(None)

    @classmethod
    def of(cls, value: Any) -> Any:
        """A data set as a user names it or hands it in, as what this class is made from.

        Args:
            value: A name, keys, or what `data.live.live_data` takes.
        """
        if isinstance(value, str):
            return {"name": value}
        train = value.get("train") if isinstance(value, Mapping) else value
        if isinstance(value, DatasetConfig) or train is None or isinstance(train, str | int | float):
            return value
        live = live_data(value)
        config = cls(name=LIVE, **live.described())
        config._live = live
        return config

    @model_validator(mode="after")
    def _known(self) -> DatasetConfig:
        if self.name == LIVE:
            return self
        check_options(pick(DATASETS, SegmentationDataset, self.name, "data set"), self.model_extra or {}, "data")
        return self


def create_dataset(config: DatasetConfig, split: Literal["train", "val", "test"]) -> SegmentationDataset:
    """A split of a data set by the data set's name and options.

    Args:
        config: the name, one of `dataset_names`, and the options of the data set's class.
        split: "train", "val", or "test", for which not every data set has labels.

    Returns:
        The data set, whose files have been looked for.

    Raises:
        DataError: files are missing, or there are no labelled test images.
        RecipeError: no data set has that name, or it has no such option.
    """
    if config._live is not None:
        return config._live.split(split)
    if config.name == LIVE:
        raise RecipeError(
            "The data set was handed in from Python as an object, which can't be read back from a file. Go on from "
            f"Python and hand it in again, data=..; it was {(config.model_extra or {}).get('train')}."
        )
    cls = pick(DATASETS, SegmentationDataset, config.name, "data set")
    if split == "test" and "test" not in get_args(get_type_hints(cls.__init__)["split"]):
        raise DataError(f"Data set '{config.name}' has no labelled test images; it can be scored on train and val.")
    options: dict[str, Any] = {**(config.model_extra or {}), "split": split}
    return cls(**check_options(cls, options, "data"))


def pixels_of(config: DatasetConfig) -> PixelFormat:
    """What the images of a data set are, by its options alone.

    Args:
        config: Its name and options.

    Raises:
        DataError: Its `range` makes no sense.
    """
    options = config.model_extra or {}
    return as_pixel_format(options.get("channels", RGB), options.get("range")) if config.name == "folder" else RGB_BYTES


def training_images(config: DatasetConfig) -> SegmentationDataset:
    """The training images of a data set, kept decoded where `decoded` says so.

    Args:
        config: As of `create_dataset`.

    Raises:
        DataError: As of `create_dataset`, and of `Decoded`.
        RecipeError: As of `create_dataset`.
    """
    data = create_dataset(config, "train")
    if config.decoded is None:
        return data
    return Decoded(data, config.decoded, {"name": config.name, **(config.model_extra or {})})


def labeled_part(data: SegmentationDataset) -> SegmentationDataset:
    """The training images that a network without a teacher can learn from: those with a mask; all of them if none has.

    Args:
        data: The training images.
    """
    labeled = labeled_indices(data)
    return Part(data, labeled) if 0 < len(labeled) < len(data) else data


def with_unlabeled(data: SegmentationDataset, config: DatasetConfig) -> SegmentationDataset:
    """The training images of a distillation: those without a mask in a fixed ratio among those with one.

    Args:
        data: The training images, which may lack masks.
        config: Of the data set; its `extra` names further unlabelled images, and the ratio.

    Returns:
        The data set itself where all images have masks, or where none has and no folder is named.

    Raises:
        DataError: A folder of `data.extra` is missing or holds no image.
    """
    extra = config.extra or ExtraConfig()
    labeled = labeled_part(data)
    unlabeled: list[SegmentationDataset] = []
    if labeled is not data:
        unlabeled.append(Part(data, [index for index in range(len(data)) if not data.is_labeled(index)]))
    if extra.images:
        unlabeled.append(Unlabeled(extra.images, data.classes, pixels=data.pixels))
    return Mixed(labeled, unlabeled, extra.share) if unlabeled else data
