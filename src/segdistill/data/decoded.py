"""Training images and masks as pixels on disk, so that only their first epoch decodes them."""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from segdistill.core.errors import DataError
from segdistill.core.storage import nearest_existing, stamp, write_aside
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.pairs import FilePairs


class Decoded(SegmentationDataset):
    """The samples of pairs of files, decoded once and kept: the same numbers, whatever is done with them later.

    Each is a file of its own, named after what it is made of: paths, sizes and times of image and mask, the options of
    the data set, and what its masks' values mean. A sample whose files have changed, or whose kept file is damaged, is
    decoded anew.

    Args:
        data: Of image files and mask files.
        folder: Where they are kept; several runs and processes may share it.
        options: All that says how the data set reads its files, as plain values.

    Raises:
        DataError: The data set is not made of files, or there is too little room for its pixels.
    """

    def __init__(self, data: SegmentationDataset, folder: Path, options: dict[str, Any]) -> None:
        if not isinstance(data, FilePairs) or getattr(data, "annotated", None) is not None:
            raise DataError(
                "data.decoded keeps the pixels of image files and mask files, and these samples are made otherwise. "
                "Leave it out, or make files of them first: segdistill prepare."
            )
        self.data, self.classes, self.pixels, self._folder = data, data.classes, data.pixels, folder
        # What values mean may stand in a class table, whose path is all that the options say of it.
        meaning = [data.classes.names, data.values.as_dict()]
        self._checked: set[int] = set()
        self._options = json.dumps([options, *meaning], sort_keys=True, default=str)
        kept = sum(self._file(index).is_file() for index in range(len(data)))
        self.notes = [*data.notes, self._room(kept)]

    def __len__(self) -> int:
        return len(self.data)

    def is_labeled(self, index: int) -> bool:
        return self.data.is_labeled(index)

    def name(self, index: int) -> str:
        return self.data.name(index)

    def __getitem__(self, index: int) -> Sample:
        file = self._file(index)
        kept = _read(file, checked=index in self._checked)
        if kept is not None:
            self._checked.add(index)
        else:
            sample = self.data[index]
            kept = {"image": sample.image.permute(1, 2, 0).contiguous(), "label": sample.label.contiguous()}
            sums = {name: _checksum(pixels) for name, pixels in kept.items()}
            write_aside(file, lambda aside: save_file(kept, aside, sums))
        return Sample(kept["image"].permute(2, 0, 1), kept["label"], self.name(index), self.is_labeled(index))

    def _file(self, index: int) -> Path:
        image, mask = self.data.pairs[index]
        stamps = [_stamp(path) for path in (image, mask) if path is not None]
        digest = hashlib.sha256(json.dumps([self._options, stamps]).encode()).hexdigest()
        return self._folder / digest[:2] / f"{digest[2:]}.safetensors"

    def _room(self, kept: int) -> str:
        """How much the pixels take, by the first sample's."""
        first = self.data[0]
        total = (first.image.nbytes + first.label.nbytes) * len(self)
        left = total * (len(self) - kept) // len(self)
        home = nearest_existing(self._folder)
        if not home.is_dir():
            raise DataError(f"data.decoded={self._folder}: {home} is a file; expected a folder.")
        free = shutil.disk_usage(home).free
        if left > free:
            raise DataError(
                f"The pixels of {len(self) - kept} images would take about {left / 1e9:.1f} GB in {self._folder}, "
                f"where {free / 1e9:.1f} GB are free. Make room, choose another data.decoded, or leave it out."
            )
        return (
            f"{kept} of {len(self)} images are decoded in {self._folder}; all of them take about {total / 1e9:.1f} GB."
        )


def _read(file: Path, *, checked: bool) -> dict[str, Tensor] | None:
    """What was kept, image (H,W,C) and label (H,W); None if it is not there, or not what was written.

    checked: its sums were right before in this process. In every epoch they were a tenth of the time of an ADE sample.
    """
    try:
        with safe_open(file, framework="pt") as kept:
            pixels = {name: kept.get_tensor(name) for name in ("image", "label")}
            sums = kept.metadata() or {}
    except (OSError, SafetensorError):
        return None
    return pixels if checked or all(_checksum(each) == sums.get(name) for name, each in pixels.items()) else None


def _checksum(pixels: Tensor) -> str:
    return str(zlib.crc32(pixels.numpy().data))


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        return stamp(path)
    except OSError as error:
        raise DataError(f"Can't look at {path}: {error}.") from error
