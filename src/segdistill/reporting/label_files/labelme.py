"""labelme JSON: a file an image, a polygon along the pixels' edges for every connected area.

Format: github.com/wkentaro/labelme, `labelme/label_file.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segdistill.core.classes import IGNORE_INDEX, Classes
from segdistill.core.storage import write_json
from segdistill.reporting.label_files.base import Labelled
from segdistill.reporting.label_files.regions import regions

_IGNORED = "__ignore__"


def write(predicted: Iterable[Labelled], classes: Classes, out: Path) -> list[Path]:
    """Write <name>.json for every image.

    A polygon has no holes, so larger ones come first and what lies in their holes is drawn over them; void areas are
    drawn as `__ignore__`.

    Args:
        predicted: The images.
        classes: Their classes.
        out: The folder.

    Returns:
        The files.
    """
    files = []
    for each in predicted:
        mask = each.mask()
        areas = sorted(regions(mask, void=True), key=lambda region: -int(region.filled.sum()))
        names = {region.label: classes.names[region.label] for region in areas if region.label != IGNORE_INDEX}
        shapes: list[dict[str, Any]] = [
            {
                "label": names.get(region.label, _IGNORED),
                "points": [[float(x), float(y)] for x, y in region.outline()],
                "group_id": None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for region in areas
        ]
        file = out / f"{each.name}.json"
        tree = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": Path(os.path.relpath(each.image.absolute(), file.absolute().parent)).as_posix(),
            "imageData": None,
            "imageHeight": mask.shape[0],
            "imageWidth": mask.shape[1],
        }
        write_json(file, tree)
        files.append(file)
    return files
