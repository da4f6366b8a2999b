"""CVAT XML for images: a mask for every connected area.

Format: docs.cvat.ai, "CVAT for image 1.1".
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TextIO
from xml.sax.saxutils import escape, quoteattr

from segdistill.core.classes import Classes
from segdistill.reporting.label_files.base import Labelled, hexadecimal, write_file
from segdistill.reporting.label_files.regions import Region, regions


def write(predicted: Iterable[Labelled], classes: Classes, out: Path) -> list[Path]:
    """Write annotations.xml. Void is no mask.

    Args:
        predicted: The images.
        classes: Their classes.
        out: The folder.

    Returns:
        The file.
    """

    def fill(file: TextIO) -> None:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
        file.write("<meta><task><labels>\n")
        for name, color in zip(classes.names, classes.colors, strict=True):
            file.write(f"<label><name>{escape(name)}</name><color>{hexadecimal(color)}</color></label>\n")
        file.write("</labels></task></meta>\n")
        for number, each in enumerate(predicted):
            mask = each.mask()
            height, width = mask.shape
            file.write(f'<image id="{number}" name={quoteattr(str(each.below))} width="{width}" height="{height}">\n')
            for region in regions(mask):
                file.write(_element(region, classes.names[region.label]))
            file.write("</image>\n")
        file.write("</annotations>\n")

    return write_file(out / "annotations.xml", fill)


def _element(region: Region, name: str) -> str:
    height, width = region.bits.shape
    box = Region(region.label, 0, 0, region.bits)
    runs = ", ".join(map(str, box.runs_of_rows(height, width)))
    place = f'left="{region.left}" top="{region.top}" width="{width}" height="{height}"'
    return f'<mask label={quoteattr(name)} source="auto" occluded="0" rle="{runs}" {place} z_order="0"></mask>\n'
