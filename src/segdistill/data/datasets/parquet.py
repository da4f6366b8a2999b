"""Data sets of the Hugging Face hub: parquet files whose rows are an image and its mask."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import torch

from segdistill.core.classes import Classes, distinct_colors
from segdistill.core.errors import DataError
from segdistill.core.output_names import output_names
from segdistill.core.paths import composed, expanded
from segdistill.data.alignment import Exif, check_pair
from segdistill.data.annotations.source import Source
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.own_folder.classes import own_values
from segdistill.data.own_folder.split_folders import SPLIT_OF
from segdistill.data.own_folder.splits import EVERY
from segdistill.data.own_folder.templates import files_below
from segdistill.data.reading import decode_image, decode_mask, require_folder
from segdistill.data.tables import LabelTable
from segdistill.data.values import LabelValues

_IMAGES = ("image", "pixel_values", "img")
_LABELS = ("label", "annotation", "mask", "labels", "semantic_segmentation", "segmentation_mask")


class Parquet(SegmentationDataset):
    """`<root>/**/*.parquet` with an image and a mask column, and `<root>/id2label.json`, as the hub has them.

    A file's name or folder says its split (train-00000-of-00001.parquet, validation/0000.parquet); without files of
    validation every fifth row is for it. The mask is an index mask, whose values id2label.json names.

    Args:
        root: The folder that was downloaded.
        split: "train" or "val".
        classes: Names in the order of the mask values, or the JSON file {value: name}; null is `<root>/id2label.json`.
        image_column: The column of images; null is one of image, pixel_values, img.
        label_column: The column of masks; null is one of label, annotation, mask, labels, ..
        void: Mask values that are not trained on, beside 255.
        exif: Whether photos are turned upright by their EXIF tag, "apply" or "ignore"; "auto" refuses those whose mask
            may have been drawn on either picture.

    Attributes:
        files: The parquet files of the split.

    Raises:
        DataError: Files, columns or names are missing or damaged, or pyarrow is not installed.
    """

    def __init__(
        self,
        *,
        root: Path,
        split: Literal["train", "val"] = "train",
        classes: list[str] | Path | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
        void: list[int] | None = None,
        exif: Exif = "auto",
    ) -> None:
        root = expanded(root)
        self.exif: Exif = exif
        require_folder(root, "data.root must be the downloaded data set, with .parquet files in it.")
        self.classes, self.values = _classes(root, classes, void or ())
        every = [path for path in files_below(root) if path.suffix.lower() == ".parquet"]
        by_split = {name: [path for path in every if _split_of(path, root) == name] for name in ("train", "val")}
        files = by_split[split]
        if not by_split["train"]:
            raise DataError(f"{root} holds no .parquet file of training images, as train-00000-of-00001.parquet.")
        if by_split["val"]:
            self.notes = [f"{root} is a data set of the hub: {len(files)} parquet file(s) of the split {split}."]
        else:
            files = by_split["train"]
            self.notes = [f"{root} has no parquet file of validation images: every {EVERY}th row is for validation."]
        self.files = tuple(files)
        # Their names in samples' names: configurations of one data set all have a train/0000.parquet.
        self._stems = output_names({path: PurePosixPath(path.name) for path in files})
        self._groups: list[tuple[Path, int]] = []
        rows: list[tuple[int, int]] = []
        for path in files:
            for group, count in enumerate(_open(path).counts):
                rows += [(len(self._groups), row) for row in range(count)]
                self._groups.append((path, group))
        if not by_split["val"]:
            rows = [row for at, row in enumerate(rows) if (at % EVERY == EVERY - 1) == (split == "val")]
        if not rows:
            raise DataError(f"{root}: no row is left for the split {split}.")
        self._rows = rows
        self._columns = tuple(
            _column(files[0], given, usual, f"data.{key}_column")
            for given, usual, key in ((image_column, _IMAGES, "image"), (label_column, _LABELS, "label"))
        )

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, index: int) -> str:
        """What a sample is called; its row is not read.

        Args:
            index: From 0 to len - 1.

        Returns:
            The stem of the parquet file, longer where two have the same, and the row's number in it, of six digits.
        """
        group, row = self._rows[index]
        path, number = self._groups[group]
        return f"{self._stems[path]}_{sum(_open(path).counts[:number]) + row:06d}"

    def contents(self, index: int) -> tuple[bytes, bytes, Path]:
        """A row as it stands.

        Args:
            index: From 0 to len - 1.

        Returns:
            The image file, the mask file, and where they are from, for messages.

        Raises:
            DataError: The parquet file is damaged, or the row holds no files.
        """
        group, row = self._rows[index]
        path, number = self._groups[group]
        cells = _cells(path, number, self._columns)
        where = path / f"row {sum(_open(path).counts[:number]) + row}"
        image, mask = (_content(cells[column][row], where, column) for column in self._columns)
        return image, mask, where

    def __getitem__(self, index: int) -> Sample:
        image, mask, where = self.contents(index)
        pixels, header = decode_image(image, where, self.exif)
        raw, mask_header = decode_mask(mask, where, False, self.exif)
        check_pair(pixels, header, raw, mask_header, where / "image", where / "mask", self.exif)
        return Sample(pixels, torch.from_numpy(self.values(raw, where)), self.name(index))


class _Table:
    """An open parquet file, which one thread may read at a time. counts: rows of each of its groups."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow.parquet as parquet
        except ImportError as error:
            raise DataError("Parquet files are read by pyarrow. Install it: pip install 'segdistill[hf]'.") from error
        try:
            self.file = parquet.ParquetFile(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a whole parquet file ({error}). Download it anew.") from error
        self.lock = threading.Lock()
        self.counts = [self.file.metadata.row_group(at).num_rows for at in range(self.file.metadata.num_row_groups)]


@lru_cache(maxsize=64)
def _open(path: Path) -> _Table:
    return _Table(path)


@lru_cache(maxsize=2)
def _cells(path: Path, group: int, columns: tuple[str, ...]) -> dict[str, list[Any]]:
    """The columns of a group of rows; the last two groups are kept, as neighbours are often read together."""
    opened = _open(path)
    try:
        with opened.lock:
            table: dict[str, list[Any]] = opened.file.read_row_group(group, columns=[*columns]).to_pydict()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}). Download it anew.") from error
    return table


def _content(cell: Any, where: Path, column: str) -> bytes:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(content, bytes):
        raise DataError(
            f"{where}: the column '{column}' holds {str(cell)[:60]}; expected the bytes of a picture, {{bytes, path}}. "
            "Download the data set with its images (push_to_hub embeds them)."
        )
    return content


def _split_of(path: Path, root: Path) -> str | None:
    """The split that a file's first word, or a folder's name, is; files of no split are for training."""
    words = [re.split(r"[^A-Za-z]", path.stem)[0], *(part for part in reversed(path.relative_to(root).parts[:-1]))]
    return next((SPLIT_OF[word.lower()] for word in words if word.lower() in SPLIT_OF), "train")


def _column(path: Path, given: str | None, usual: Sequence[str], key: str) -> str:
    names = list(_open(path).file.schema_arrow.names)
    present = [name for name in ([given] if given else usual) if name in names]
    if not present:
        raise DataError(f"{path} has the columns {', '.join(names)}; none is {given or ' or '.join(usual)}. Set {key}.")
    return present[0]


def _classes(root: Path, given: list[str] | Path | None, void: Sequence[int]) -> tuple[Classes, LabelValues]:
    if isinstance(given, list):
        named = dict(enumerate(given))
        source = "data.classes"
    else:
        file = root / (expanded(given) if given is not None else "id2label.json")
        if not file.is_file():
            raise DataError(f"No {file}; expected {{value: name}}. Get id2label.json, or give data.classes=[road,car].")
        tree = Source(file, root).json(file)
        if not isinstance(tree, dict) or not all(str(key).isdecimal() for key in tree):
            raise DataError(f"{file} is not an id2label.json; expected {{value: name}}, as {{'0': 'road'}}.")
        named = {int(key): str(tree[key]) for key in sorted(tree, key=int)}
        source = str(file)
    kept = {value: composed(name) for value, name in named.items() if value not in {*void, 255}}
    names = tuple(kept.values())
    if len({*names}) < 2 or len({*names}) < len(names):
        raise DataError(f"{source} names {', '.join(names)}; expected two or more different classes.")
    classes = Classes(names, distinct_colors(len(names)))
    table = LabelTable(classes, tuple((value,) for value in kept), {}, f"the {len(names)} classes of {source}")
    return classes, own_values(table, table, {}, values=None, void=[*void], unlisted_is_void=False)
