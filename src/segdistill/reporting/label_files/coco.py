"""COCO JSON: a run-length code for every connected area.

Format: cocodataset.org, "Data format" (object detection), with uncompressed run lengths.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from segdistill.core.classes import Classes
from segdistill.reporting.label_files.base import Labelled, write_file, write_list
from segdistill.reporting.label_files.regions import regions


def write(predicted: Iterable[Labelled], classes: Classes, out: Path) -> list[Path]:
    """Write annotations.json. Category ids are class indices from 1; void is no annotation.

    Args:
        predicted: The images.
        classes: Their classes.
        out: The folder.

    Returns:
        The file.
    """
    images: list[dict[str, Any]] = []
    categories = [{"id": index, "name": name} for index, name in enumerate(classes.names, 1)]

    def fill(file: TextIO) -> None:
        file.write('{"annotations": ')
        write_list(file, _annotations(predicted, images))
        file.write(f',\n"categories": {json.dumps(categories, ensure_ascii=False)},\n"images": ')
        write_list(file, images)
        file.write("}\n")

    return write_file(out / "annotations.json", fill)


def _annotations(predicted: Iterable[Labelled], images: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The annotations of all images, which are listed on the way."""
    number = 0
    for image_id, each in enumerate(predicted, 1):
        mask = each.mask()
        height, width = mask.shape
        images.append({"id": image_id, "file_name": str(each.below), "width": width, "height": height})
        for region in regions(mask):
            number += 1
            yield {
                "id": number,
                "image_id": image_id,
                "category_id": region.label + 1,
                "segmentation": {"size": [height, width], "counts": region.runs_of_columns(height, width)},
                "area": int(region.bits.sum()),
                "bbox": [region.left, region.top, *region.bits.shape[::-1]],
                "iscrowd": 0,
            }
