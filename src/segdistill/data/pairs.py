"""Data sets made of image files and mask files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from segdistill.core.classes import IGNORE_INDEX, Classes, require_countable
from segdistill.core.errors import DataError
from segdistill.core.pixels import RGB_BYTES, PixelFormat
from segdistill.data.alignment import Exif, check_pair
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.formats import Header
from segdistill.data.reading import load_image, load_mask, read_image
from segdistill.data.values import LabelValues, Raw

Pair = tuple[Path, Path | None]
"""An image file and its mask file; None for an image without labels, whose label is all void."""


class FilePairs(SegmentationDataset):
    """Samples read from pairs of an image file and a mask file.

    All files must exist when the data set is made: a missing one is found before training, not after an hour of it.

    Args:
        pairs: (image file, mask file); None in place of a mask for an image without labels.
        classes: names and colors of the K classes.
        values: what the masks' raw values mean.
        expected: the number of pairs of the complete data set, if known.
        partial: take the pairs that are there.
        hint: what to do where there are fewer than expected, for the message.
        exif: whether photos are turned by their EXIF tag, see `read_pair`.
        pixels: what the images are.

    Raises:
        DataError: files are missing, there is no pair, or there are more classes than a label can hold.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        classes: Classes,
        values: LabelValues,
        *,
        expected: int | None = None,
        partial: bool = False,
        hint: str = "Complete the download, or take the lines off the list.",
        exif: Exif = "apply",
        pixels: PixelFormat = RGB_BYTES,
    ) -> None:
        require_countable(classes)
        missing = missing_files(path for pair in pairs for path in pair if path is not None)
        if partial and missing:
            pairs = [pair for pair in pairs if not missing.intersection(pair)]
        elif not partial and (missing or len(pairs) < (expected or 0)):
            raise DataError(_incomplete(pairs, missing, expected or 0, hint))
        if not pairs:
            raise DataError("The data set holds no image. Check data.root, the folders and the list file.")
        self.pairs = list(pairs)
        self.classes = classes
        self.values = values
        self.exif: Exif = exif
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pairs)

    def is_labeled(self, index: int) -> bool:
        """Whether an image has a mask file; neither is read.

        Args:
            index: from 0 to len - 1.
        """
        return self.pairs[index][1] is not None

    def name(self, index: int) -> str:
        """The stem of an image's file, which is not read.

        Args:
            index: from 0 to len - 1.

        Returns:
            The stem.
        """
        return self.pairs[index][0].stem

    def __getitem__(self, index: int) -> Sample:
        image_path, mask_path = self.pairs[index]
        if mask_path is None:
            return self.without_mask(index)
        image, header = load_image(image_path, self.exif, self.pixels)
        raw, mask_header = self.load_mask(index)
        check_pair(image, header, raw, mask_header, image_path, mask_path, self.exif)
        return Sample(image, torch.from_numpy(self.values(raw, mask_path)), image_path.stem)

    def without_mask(self, index: int) -> Sample:
        """The image of a pair, whose mask is not read.

        Args:
            index: from 0 to len - 1.
        """
        image_path, _ = self.pairs[index]
        image = read_image(image_path, exif=self.exif, pixels=self.pixels)
        void = torch.full((image.shape[1], image.shape[2]), IGNORE_INDEX, dtype=torch.uint8)
        return Sample(image, void, image_path.stem, labeled=False)

    def load_mask(self, index: int) -> tuple[Raw, Header]:
        """The raw values of a mask, and what its file says of itself.

        Args:
            index: of a pair with a mask.

        Returns:
            (H,W), and the header.

        Raises:
            DataError: as of `read_mask`.
        """
        mask_path = self.pairs[index][1]
        assert mask_path is not None
        return load_mask(mask_path, self.values.colors, self.exif)


def read_lines(path: Path, *, what: str = "image") -> list[str]:
    """The lines of a list file that are not blank.

    Args:
        path: a file in UTF-8.
        what: each line names, for the message.

    Returns:
        The lines without space around them.

    Raises:
        DataError: there is no such file, or it is not UTF-8 text.
    """
    if not path.is_file():
        raise DataError(f"No list file {path}. Check data.root; the list names one {what} a line.")
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows editors put a mark before the first line
    except UnicodeDecodeError as error:
        raise DataError(f"List file {path} is not UTF-8 text ({error}). Save it as UTF-8.") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def missing_files(paths: Iterable[Path]) -> set[Path]:
    """Those of the files that are not there. Each folder is listed once: one call a file is slow on network disks.

    Args:
        paths: of files.

    Returns:
        The missing ones.
    """
    listings: dict[str, set[str]] = {}
    missing: set[Path] = set()
    for path in paths:
        folder, name = os.path.split(path)  # text: a quarter of a million paths take seconds as Path.parent
        if folder not in listings:
            listings[folder] = names_in(Path(folder))
        if name not in listings[folder]:
            missing.add(path)
    return missing


def names_in(folder: Path) -> set[str]:
    """The names of the files in a folder.

    Args:
        folder: which may be missing.

    Returns:
        The names; none if there is no such folder. Hidden files, as macOS leaves beside each image, are no files.
    """
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if not entry.name.startswith(".") and _is_file(entry)}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _incomplete(pairs: Sequence[Pair], missing: set[Path], expected: int, hint: str) -> str:
    files = [path for pair in pairs for path in pair if path is not None]
    complete = sum(not missing.intersection(pair) for pair in pairs)
    count = f" {complete} of {max(expected, len(pairs))} images are there with what they need." if expected else ""
    if not missing:
        return f"The data set is not complete:{count} {hint}"
    first = next(path for path in files if path in missing)
    return f"{len(missing)} of {len(files)} files of the data set are missing, first {first}.{count} {hint}"
