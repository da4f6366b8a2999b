"""What tells a data set whose files were changed from what it was before."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from segdistill.core.storage import stamp
from segdistill.data.base import SegmentationDataset
from segdistill.data.datasets.parquet import Parquet
from segdistill.data.pairs import FilePairs


def fingerprint(data: SegmentationDataset) -> str:
    """A checksum of the names of samples and classes, and of size and time of the files they are read from.

    Args:
        data: The data set; no sample is read.

    Returns:
        64 hexadecimal digits.
    """
    files: dict[Path, None] = {}
    if isinstance(data, FilePairs):
        files = dict.fromkeys(path for pair in data.pairs for path in pair if path is not None)
    elif isinstance(data, Parquet):
        files = dict.fromkeys(data.files)
    stamps = [stamp(path)[1:] for path in files]  # not where they lie
    names = [data.name(index) for index in range(len(data))]
    return hashlib.sha256(json.dumps([data.classes.names, names, stamps]).encode()).hexdigest()
