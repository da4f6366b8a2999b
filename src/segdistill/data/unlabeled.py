"""Images without labels, which only a teacher can say something about."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import Field

from segdistill.core.classes import IGNORE_INDEX, Classes
from segdistill.core.errors import DataError
from segdistill.core.paths import HomePaths
from segdistill.core.pixels import RGB_BYTES, PixelFormat
from segdistill.core.typed_settings import TypedSettings
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.formats import image_suffixes
from segdistill.data.own_folder.templates import find_files
from segdistill.data.reading import read_image


class ExtraConfig(TypedSettings):
    """Unlabelled images that are mixed into the distillation, as `data.extra` describes them."""

    images: HomePaths = ()
    """A folder of images, or several, sub-folders included; by default only the data set's own images without masks."""

    share: float = Field(0.5, gt=0, lt=1)
    """The share of every batch that is taken from images without labels; the rest has some."""


class Unlabeled(SegmentationDataset):
    """The images of folders, without labels.

    Args:
        folders: Where they are, in sub-folders as well.
        classes: Of the data set that they are mixed into.
        key: Of the recipe that names the folders, for errors.
        pixels: What the images are.

    Raises:
        DataError: If a folder is missing or holds no image.
    """

    def __init__(
        self,
        folders: tuple[Path, ...],
        classes: Classes,
        *,
        key: str = "data.extra.images",
        pixels: PixelFormat = RGB_BYTES,
    ) -> None:
        self.classes, self.pixels = classes, pixels
        suffixes = image_suffixes(pixels)
        self.paths: list[Path] = []
        for folder in folders:
            images = find_files(
                folder, "{name}", "", hint=f"{key} names folders of images without labels.", suffixes=suffixes
            )
            if not images:
                raise DataError(f"{key}: {folder} holds no images.")
            self.paths += images.values()

    def __len__(self) -> int:
        return len(self.paths)

    def is_labeled(self, index: int) -> bool:
        """False: no image has a mask.

        Args:
            index: Not asked.
        """
        return False

    def name(self, index: int) -> str:
        """The stem of an image's file, which is not read.

        Args:
            index: From 0 to len - 1.
        """
        return self.paths[index].stem

    def __getitem__(self, index: int) -> Sample:
        image = read_image(self.paths[index], pixels=self.pixels)
        label = torch.full(image.shape[1:], IGNORE_INDEX, dtype=torch.uint8)
        return Sample(image, label, self.paths[index].stem, labeled=False)


class WithoutMasks(SegmentationDataset):
    """The images of a data set, of which no mask is read.

    Args:
        data: The data set.
    """

    def __init__(self, data: SegmentationDataset) -> None:
        self.data, self.classes, self.pixels, self.notes = data, data.classes, data.pixels, data.notes

    def __len__(self) -> int:
        return len(self.data)

    def is_labeled(self, index: int) -> bool:
        return False

    def name(self, index: int) -> str:
        return self.data.name(index)

    def __getitem__(self, index: int) -> Sample:
        return self.data.without_mask(index)


class Joined(SegmentationDataset):
    """Data sets of the same classes, one after the other.

    Args:
        parts: The data sets.
    """

    def __init__(self, parts: Sequence[SegmentationDataset]) -> None:
        self._parts, self.classes, self.pixels = list(parts), parts[0].classes, parts[0].pixels
        self.notes = [*dict.fromkeys(note for part in parts for note in part.notes)]
        self._ends = [*itertools.accumulate(len(part) for part in self._parts)]

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        part, index = self._part(index)
        return part[index]

    def is_labeled(self, index: int) -> bool:
        """Whether a sample has a mask; a labelled data set may hold some without, too.

        Args:
            index: From 0 to len - 1, the first data set's samples first.
        """
        part, index = self._part(index)
        return part.is_labeled(index)

    def name(self, index: int) -> str:
        """What the data set that it comes from calls a sample.

        Args:
            index: From 0 to len - 1, the first data set's samples first.
        """
        part, index = self._part(index)
        return part.name(index)

    def _part(self, index: int) -> tuple[SegmentationDataset, int]:
        number = bisect.bisect_right(self._ends, index)
        return self._parts[number], index - (self._ends[number - 1] if number else 0)


class Part(SegmentationDataset):
    """Some samples of a data set.

    Args:
        data: All of them.
        indices: Of those that are taken.
    """

    def __init__(self, data: SegmentationDataset, indices: Sequence[int]) -> None:
        self.data, self.indices, self.classes, self.pixels = data, list(indices), data.classes, data.pixels
        self.notes = data.notes

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.data[self.indices[index]]

    def is_labeled(self, index: int) -> bool:
        """Whether a sample has a mask, as the data set says.

        Args:
            index: From 0 to len - 1, among the samples that are taken.
        """
        return self.data.is_labeled(self.indices[index])

    def name(self, index: int) -> str:
        """What the data set calls a sample.

        Args:
            index: From 0 to len - 1, among the samples that are taken.
        """
        return self.data.name(self.indices[index])


class Mixed(Joined):
    """A labelled data set, then unlabelled ones: a training sequence takes both in a fixed ratio.

    Args:
        labeled: Comes first.
        unlabeled: Follow, one after the other.
        share: Of the sequence that is unlabelled, in (0, 1).
    """

    def __init__(self, labeled: SegmentationDataset, unlabeled: Sequence[SegmentationDataset], share: float) -> None:
        super().__init__([labeled, *unlabeled])
        self.labeled, self.share = len(labeled), share
