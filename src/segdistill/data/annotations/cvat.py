"""CVAT XML for images: polygons, boxes, ellipses and masks by z_order.

Format: docs.cvat.ai, "CVAT for image 1.1": `<annotations><meta/><image id name width height>` with
`<polygon points="x,y;..">`, `<box xtl ytl xbr ybr rotation>`, `<ellipse cx cy rx ry rotation>` and
`<mask rle="n, n, .." left top width height>`, whose runs go along the rows and begin with 0. Labels and their
colors are in `<meta>`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from segdistill.core.classes import as_color
from segdistill.core.errors import DataError
from segdistill.core.paths import composed
from segdistill.data.annotations.base import Annotations, Bits, Drawing, Shape, damaged
from segdistill.data.annotations.shapes import Ellipse, Patch, Polygon, box, numbers
from segdistill.data.annotations.source import Source

TITLE = "CVAT XML for images"

_NO_AREA = {"points", "polyline", "cuboid", "skeleton", "tag"}


def recognizes(source: Source) -> bool:
    """Whether a source is CVAT's, by the beginning of its XML.

    Args:
        source: whose first .xml file is looked at, or the file itself.

    Returns:
        True for a damaged file as well, if its first 1000 characters hold `<annotations>`.
    """
    first = next(iter(source.of(".xml")), source.path)
    text = source.beginning(first) if first.is_file() else ""
    return text.lstrip().startswith("<") and "<annotations>" in text[:1000]


def read(source: Source) -> Annotations:
    """The images of one file.

    Shapes of a higher z_order are on top; of the same, later ones.

    Args:
        source: the file, or a folder that holds it.

    Returns:
        A drawing of each image, also of those without shapes.

    Raises:
        DataError: the file is damaged, or an export of a video.
    """
    file = source.only(".xml")
    tree = _parse(file)
    if tree.find("track") is not None:
        raise DataError(f"{file} is CVAT XML for video (tracks); expected that for images. Export 'CVAT for images'.")
    labels = [each for each in tree.iterfind(".//labels/label") if each.findtext("name")]
    names = [composed(each.findtext("name") or "") for each in labels]
    colors = {
        name: as_color(color, f"{file}: color of {name}")
        for name, each in zip(names, labels, strict=True)
        if (color := each.findtext("color"))
    }
    drawings, without_area = [], 0
    for image in tree.iterfind("image"):
        ordered: list[tuple[int, Shape]] = []
        for each in image:
            try:
                shape = _shape(each)
                if shape is not None:
                    ordered.append((int(each.get("z_order", 0)), shape))
                without_area += shape is None and each.tag in _NO_AREA
            except (KeyError, ValueError) as error:
                where = f"<{each.tag}> on image {image.get('name')}"
                raise damaged(file, TITLE, f"{where}: {error}", "CVAT's attributes") from error
        try:
            size = (int(image.attrib["height"]), int(image.attrib["width"]))
            name = image.attrib["name"]
        except (KeyError, ValueError) as error:
            raise damaged(file, TITLE, f"image {image.attrib}", "name, width and height") from error
        shapes = [shape for _, shape in sorted(ordered, key=lambda each: each[0])]
        names += [shape.label for shape in shapes if shape.label not in names]
        drawings.append(Drawing(file, (name,), shapes, size))
    notes = (f"{without_area} points, lines and tags have no area and are not drawn.",) if without_area else ()
    return Annotations("cvat", TITLE, file, tuple(names), drawings, lists_images=True, colors=colors, notes=notes)


def _parse(file: Path) -> ElementTree.Element:
    try:
        content = file.read_bytes()
        if b"<!ENTITY" in content or b"<!DOCTYPE" in content:
            raise DataError(f"{file} defines entities, which no export of CVAT does; it is not read.")
        return ElementTree.fromstring(content)
    except (OSError, ElementTree.ParseError) as error:
        raise DataError(f"{file} is not whole XML ({error}). It may be cut off: export it anew.") from error


def _shape(each: ElementTree.Element) -> Shape | None:
    """The area of an element; None if it has none, or is no shape."""
    if each.tag not in {"polygon", "box", "ellipse", "mask"}:
        return None
    label, value = composed(each.attrib["label"]), each.attrib
    if each.tag == "polygon":
        pairs = [pair.split(",") for pair in value["points"].split(";")]
        return Polygon(label, [numbers(pairs, "points")])
    turn = float(value.get("rotation", 0))
    if each.tag == "box":
        left, top, right, bottom = (float(value[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        return Polygon(label, [_turned(box(left, top, right, bottom), turn)])
    if each.tag == "ellipse":
        x, y, across, down = (float(value[key]) for key in ("cx", "cy", "rx", "ry"))
        return Ellipse(label, (x, y), (across, down), turn)
    left, top, width, height = (int(value[key]) for key in ("left", "top", "width", "height"))
    return RowRuns(label, left, top, width, height, value["rle"])


def _turned(ring: list[float], degrees: float) -> list[float]:
    """A box turned clockwise about its center."""
    if not degrees:
        return ring
    points = np.array(ring).reshape(-1, 2)
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    center = points.mean(0)
    turned: Any = (points - center) @ np.array([[cos, sin], [-sin, cos]]) + center
    return [float(value) for value in turned.reshape(-1)]


@dataclass(frozen=True)
class RowRuns(Patch):
    """Run lengths along the rows of a small mask, 0 first."""

    width: int
    height: int
    rle: str

    def patch(self) -> Bits:
        runs = [int(run) for run in self.rle.split(",")]
        if sum(runs) != self.width * self.height or min(runs) < 0:
            raise ValueError(f"run lengths of {sum(runs)} pixels for a mask of {self.width}x{self.height}")
        return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(self.height, self.width)
