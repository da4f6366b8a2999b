"""Supervisely JSON: `meta.json` and a file an image in `ann`, with polygons and bitmaps.

Format: docs.supervisely.com, "Supervisely annotation format": DATASET/img/x.jpg and DATASET/ann/x.jpg.json with {size,
objects [{classTitle, geometryType, points {exterior, interior}, bitmap {data, origin}}]}; data is base64 of a PNG that
is compressed by zlib.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.core.classes import as_color
from segdistill.core.paths import composed
from segdistill.data.annotations.base import Annotations, Bits, Color, Drawing, Shape, damaged, entries
from segdistill.data.annotations.bitmaps import bits_of_png
from segdistill.data.annotations.shapes import Patch, Polygon, box, numbers
from segdistill.data.annotations.source import Source

TITLE = "Supervisely JSON"

_META = "meta.json"
_NO_AREA = {"point", "line", "graph", "cuboid", "cuboid_2d", "any"}


def recognizes(source: Source) -> bool:
    """Whether a source is Supervisely's, by the objects of its first annotation.

    Args:
        source: whose first .json file of annotations is looked at.
    """
    first = next(iter(_files(source)), None)
    beginning = source.beginning(first) if first is not None else ""
    return '"objects"' in beginning and '"size"' in beginning


def read(source: Source) -> Annotations:
    """The images of a project, of one of its data sets or of a folder `ann`.

    Later objects are drawn over earlier ones.

    Args:
        source: the folder; meta.json is in it, or up to the root above it.

    Returns:
        A drawing for each annotation.

    Raises:
        DataError: a file is damaged.
    """
    colors = _classes(source)
    drawings: list[Drawing] = []
    names = dict.fromkeys(colors)
    without_area = 0
    for file in _files(source):
        tree = source.json(file)
        shapes: list[Shape] = []
        for each in entries(tree, "objects", file, TITLE):
            try:
                shape = _shape(each)
            except (KeyError, ValueError, TypeError) as error:
                where = f"object {each.get('id')} ({each.get('classTitle')})"
                raise damaged(file, TITLE, f"{where}: {error!r}", "its geometry") from error
            without_area += shape is None
            if shape is not None:
                shapes.append(shape)
                names.setdefault(shape.label)
        try:
            size = (int(tree["size"]["height"]), int(tree["size"]["width"]))
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(file, TITLE, f"'size' is {tree.get('size')}", "height and width") from error
        drawings.append(Drawing(file, _images(file, source), shapes, size))
    notes = (f"{without_area} points, lines and graphs have no area and are not drawn.",) if without_area else ()
    shown = {name: color for name, color in colors.items() if color is not None}
    return Annotations("supervisely", TITLE, source.path, tuple(names), drawings, colors=shown, notes=notes)


def _files(source: Source) -> list[Path]:
    """The annotations: what lies in folders `ann`; without such a folder all files but meta.json."""
    files = [path for path in source.of(".json") if path.name != _META]
    return [path for path in files if path.parent.name == "ann"] or files


def _classes(source: Source) -> Mapping[str, Color | None]:
    """The classes of the nearest meta.json; none if there is none."""
    for folder in source.folders_up:
        file = folder / _META
        if file.is_file():
            classes = entries(source.json(file), "classes", file, TITLE)
            return {composed(str(each.get("title"))): _color(each, file) for each in classes}
    return {}


def _color(each: dict[str, Any], file: Path) -> Color | None:
    color = each.get("color")
    return as_color(color.lower(), f"{file}: color of {each.get('title')}") if isinstance(color, str) else None


def _images(file: Path, source: Source) -> tuple[str, ...]:
    """The image that a file is of: in the folder img beside its own, or by its name."""
    name = file.name.removesuffix(".json")
    beside = file.parent.parent / "img" / name
    return (str(beside), name) if file.parent.name == "ann" else (name,)


def _shape(each: dict[str, Any]) -> Shape | None:
    label, kind = each["classTitle"], each["geometryType"]
    if not isinstance(label, str):
        raise ValueError(f"classTitle is {label!r}")
    label = composed(label)
    if kind in _NO_AREA:
        return None
    if kind == "bitmap":
        left, top = (int(number) for number in each["bitmap"]["origin"])
        return PackedPatch(label, left, top, each["bitmap"]["data"])
    exterior = numbers(each["points"]["exterior"], "exterior")
    if kind == "rectangle" and len(exterior) == 4:
        return Polygon(label, [box(*exterior)])
    if kind != "polygon":
        raise ValueError(f"geometryType {kind!r} with {len(exterior) // 2} points")
    return Polygon(label, [exterior], [numbers(ring, "interior") for ring in each["points"].get("interior") or ()])


@dataclass(frozen=True)
class PackedPatch(Patch):
    """A mask as PNG, compressed by zlib, in base64."""

    data: str

    def patch(self) -> Bits:
        return bits_of_png(self.data, deflated=True)
