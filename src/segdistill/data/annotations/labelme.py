"""labelme JSON: one file a picture with polygons, rectangles, circles and masks.

Format: github.com/wkentaro/labelme, `labelme/label_file.py` and its `shape_to_mask`: shapes {label, points, shape_type,
mask}, imagePath beside the JSON, imageHeight, imageWidth. A circle is its center and a point of its edge; a mask is a
PNG as base64 in the box of its two points. Points and lines have no area.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.core.paths import composed
from segdistill.data.annotations.base import Annotations, Bits, Drawing, Shape, damaged, entries
from segdistill.data.annotations.bitmaps import bits_of_png
from segdistill.data.annotations.shapes import Ellipse, Patch, Polygon, box, numbers
from segdistill.data.annotations.source import Source

TITLE = "labelme JSON"

IGNORED = "__ignore__"
"""The label whose area is not trained on."""

_NO_AREA = {"point", "points", "line", "linestrip"}


def recognizes(source: Source) -> bool:
    """Whether a source is labelme's, by the shapes of its first JSON.

    Args:
        source: a file, or a folder of one for each picture.
    """
    tree = source.first_json()
    return isinstance(tree, dict) and "shapes" in tree and bool(tree.keys() & {"imagePath", "imageData", "flags"})


def read(source: Source) -> Annotations:
    """The pictures of a folder of labelme files, or of one file.

    Later shapes are drawn over earlier ones. Classes are in alphabetical order, as no file lists them.

    Args:
        source: the folder or file.

    Returns:
        A drawing for each file.

    Raises:
        DataError: a file is damaged, or of another format.
    """
    drawings: list[Drawing] = []
    names: set[str] = set()
    without_area = 0
    for file in source.of(".json"):
        tree = source.json(file)
        shapes: list[Shape] = []
        for number, each in enumerate(entries(tree, "shapes", file, TITLE)):
            try:
                shape = _shape(each)
            except (ValueError, TypeError) as error:
                raise damaged(
                    file, TITLE, f"shape {number} ({each.get('label')}): {error}", "one of labelme's"
                ) from error
            without_area += shape is None
            if shape is not None:
                shapes.append(shape)
                names.add(shape.label)
        size = (tree.get("imageHeight"), tree.get("imageWidth"))
        whole = isinstance(size[0], int) and isinstance(size[1], int)
        drawings.append(Drawing(file, _images(tree, file, source), shapes, size if whole else None))
    notes = (f"{without_area} points and lines have no area and are not drawn.",) if without_area else ()
    return Annotations(
        "labelme", TITLE, source.path, tuple(sorted(names - {IGNORED})), drawings, void=(IGNORED,), notes=notes
    )


def _images(tree: dict[str, Any], file: Path, source: Source) -> tuple[str, ...]:
    """How a file names its picture: by a path from where it lies, else by its own name; the files may lie in folders
    as the pictures do."""
    stem = file.relative_to(source.folder).with_suffix("")
    path = tree.get("imagePath")
    if not isinstance(path, str) or not path:
        return (stem.as_posix(),)
    return (path if "/" in path or "\\" in path else (stem.parent / path).as_posix(), stem.as_posix())


def _shape(each: dict[str, Any]) -> Shape | None:
    label, kind = each.get("label"), each.get("shape_type") or "polygon"
    if not isinstance(label, str) or not label:
        raise ValueError(f"its label is {label!r}")
    label = composed(label)
    if kind in _NO_AREA:
        return None
    at = numbers(each.get("points"), "points")
    if kind == "polygon":
        return Polygon(label, [at])
    if len(at) != 4 or kind not in {"rectangle", "circle", "mask"}:
        raise ValueError(f"shape_type {kind!r} with {len(at) // 2} points")
    if kind == "rectangle":
        return Polygon(label, [box(*at)])
    if kind == "circle":
        radius = math.dist(at[:2], at[2:])
        return Ellipse(label, (at[0], at[1]), (radius, radius))
    if not isinstance(each.get("mask"), str):
        raise ValueError("shape_type 'mask' without a mask")
    return EncodedPatch(label, round(min(at[0], at[2])), round(min(at[1], at[3])), each["mask"])


@dataclass(frozen=True)
class EncodedPatch(Patch):
    """A mask as PNG in base64."""

    png: str

    def patch(self) -> Bits:
        return bits_of_png(self.png)
