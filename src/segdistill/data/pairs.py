"""Data sets made of image files and mask files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from segdistill.data.base import IGNORE_INDEX, Classes, Sample, SegmentationDataset
from segdistill.data.reading import check_mask, read_image, read_mask
from segdistill.errors import DataError

Pair = tuple[Path, Path]


class FilePairs(SegmentationDataset):
    """Samples read from (image file, mask file) pairs; mask values in `void` become `IGNORE_INDEX`.

    All files must exist when the data set is made: a missing one is found before training, not after an hour of it.
    """

    def __init__(self, pairs: Sequence[Pair], classes: Classes, *, void: frozenset[int]) -> None:
        if not pairs:
            raise DataError("The data set holds no image. Check data.root, the folders and the list file.")
        missing = [path for pair in pairs for path in pair if not path.is_file()]
        if missing:
            raise DataError(
                f"{len(missing)} of {2 * len(pairs)} files of the data set are missing, first {missing[0]}. "
                "Complete the download, or take the lines off the list."
            )
        self.pairs = list(pairs)
        self.classes = classes
        self.void = void | {IGNORE_INDEX}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        image_path, mask_path = self.pairs[index]
        image = read_image(image_path)
        label = read_mask(mask_path)
        size = (image.shape[1], image.shape[2])
        check_mask(label, size=size, num_classes=len(self.classes), void=self.void, path=mask_path)
        for value in self.void - {IGNORE_INDEX}:
            label = torch.where(label == value, IGNORE_INDEX, label).to(torch.uint8)
        return Sample(image=image, label=label, name=image_path.stem)


def read_lines(path: Path) -> list[str]:
    """The lines of a list file that are not blank."""
    if not path.is_file():
        raise DataError(f"No list file {path}. Check data.root; the list names one image a line.")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
