"""Label Studio JSON: tasks with predictions to be corrected, a brush for every connected area.

Format: labelstud.io/guide/predictions; run lengths of brushes are those of `data/annotations/rle_pack.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from segdistill.core.classes import Classes
from segdistill.core.storage import write_text
from segdistill.data.annotations.rle_pack import pack
from segdistill.reporting.label_files.base import Labelled, hexadecimal, write_file, write_list
from segdistill.reporting.label_files.regions import Region, regions


def write(predicted: Iterable[Labelled], classes: Classes, out: Path) -> list[Path]:
    """Write tasks.json, and label_config.xml, the project's labels. Void is no region.

    Images are those of a local storage, below whose root they lie as below the folder that was predicted.

    Args:
        predicted: The images.
        classes: Their classes.
        out: The folder.

    Returns:
        The files.
    """
    config = out / "label_config.xml"
    labels = "\n".join(
        f"    <Label value={quoteattr(name)} background={quoteattr(hexadecimal(color))}/>"
        for name, color in zip(classes.names, classes.colors, strict=True)
    )
    write_text(
        config,
        f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n  <BrushLabels name="labels" toName="image">\n'
        f"{labels}\n  </BrushLabels>\n</View>\n",
    )

    def fill(file: TextIO) -> None:
        write_list(file, _tasks(predicted, classes))
        file.write("\n")

    return [*write_file(out / "tasks.json", fill), config]


def _tasks(predicted: Iterable[Labelled], classes: Classes) -> Iterator[dict[str, Any]]:
    for each in predicted:
        mask = each.mask()
        height, width = mask.shape
        result = [
            _result(f"r{number}", region, classes.names[region.label], height, width)
            for number, region in enumerate(regions(mask))
        ]
        yield {
            "data": {"image": f"/data/local-files/?d={quote(str(each.below))}"},
            "annotations": [],
            "predictions": [{"model_version": "segdistill", "result": result}],
        }


def _result(name: str, region: Region, label: str, height: int, width: int) -> dict[str, Any]:
    """A brush, whose code is of the four channels of every pixel."""
    runs = [4 * run for run in region.runs_of_rows(height, width)]
    return {
        "id": name,
        "from_name": "labels",
        "to_name": "image",
        "type": "brushlabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": pack(runs), "brushlabels": [label]},
    }
