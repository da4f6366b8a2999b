"""Label Studio JSON: brushes, polygons, boxes and ellipses of tasks.

Format: labelstud.io/guide/export (JSON) and its tags' pages: tasks {data: {image}, annotations: [{result,
was_cancelled}]}; a result has original_width, original_height, a type as `polygonlabels` and a value with coordinates
in percent of the image's sides, or run lengths of a brush (`rle_pack`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from segdistill.core.paths import composed
from segdistill.data.annotations.base import Annotations, Bits, Drawing, Shape, Size, damaged, entries
from segdistill.data.annotations.rle_pack import unpack
from segdistill.data.annotations.shapes import Ellipse, Polygon, numbers
from segdistill.data.annotations.source import Source

TITLE = "Label Studio JSON"

_UPLOAD = re.compile(r"[0-9a-f]{8}-")
"""What Label Studio puts before the names of files that are uploaded."""

_KINDS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels")


def recognizes(source: Source) -> bool:
    """Whether a source is Label Studio's: a list of tasks with data and annotations.

    Args:
        source: whose first JSON file is parsed; its first task decides.
    """
    tree = source.first_json()
    first = tree[0] if isinstance(tree, list) and tree else None
    return isinstance(first, dict) and "data" in first and bool(first.keys() & {"annotations", "completions"})


def read(source: Source) -> Annotations:
    """The tasks of an export.

    Of several annotations of one task the last that was not cancelled counts, and where there is none its last
    prediction. Tasks without either are left out, as nobody has said that nothing is on them. Later regions are drawn
    over earlier ones. Classes are in alphabetical order, as no export lists them.

    Args:
        source: of one JSON file.

    Returns:
        A drawing of each task that somebody labelled.

    Raises:
        DataError: the file is damaged.
    """
    file = source.only(".json")
    drawings: list[Drawing] = []
    several = other = only_predicted = skipped = 0
    for task in entries({"tasks": source.json(file)}, "tasks", file, TITLE):
        done = _answers(task, file)
        several += bool(task["annotations"]) and len(done) > 1
        only_predicted += not task["annotations"] and len(done) > 0
        if not done:
            skipped += 1
            continue
        shapes: list[Shape] = []
        size: Size | None = None
        for region in entries(done[-1], "result", file, TITLE):
            if region.get("type") not in _KINDS:
                other += 1
                continue
            try:
                size = (int(region["original_height"]), int(region["original_width"]))
                shapes.append(_shape(region, size))
            except (KeyError, ValueError, TypeError) as error:
                where = f"region {region.get('id')} of task {task.get('id')}"
                raise damaged(file, TITLE, f"{where}: {error}", "what its type has") from error
        drawings.append(Drawing(file, _images(task, file), shapes, size))
    notes = []
    if several:
        notes.append(f"{several} tasks of {file.name} have several annotations; the last of each counts.")
    if only_predicted:
        notes.append(f"{only_predicted} tasks of {file.name} have no annotation; their predictions count.")
    if skipped:
        notes.append(f"{skipped} tasks of {file.name} were skipped, or nobody has labelled them; they are left out.")
    if other:
        notes.append(f"{other} regions of {file.name} have no label or no area and are not drawn.")
    names = tuple(sorted({shape.label for drawing in drawings for shape in drawing.shapes}))
    return Annotations("label_studio", TITLE, file, names, drawings, lists_images=True, notes=tuple(notes))


def _answers(task: dict[str, Any], file: Path) -> list[dict[str, Any]]:
    """The annotations of a task that were not cancelled; where there is none at all its predictions."""
    annotations = entries(task, "annotations", file, TITLE)
    if not annotations:
        return [each for each in task.get("predictions") or () if isinstance(each, dict)]  # exports may have ids
    return [each for each in annotations if not each.get("was_cancelled")]


def _images(task: dict[str, Any], file: Path) -> tuple[str, ...]:
    """What a task's image may be called: the path of its address, its name, and that without the prefix of uploads."""
    data = task.get("data")
    texts = [value for key, value in data.items() if isinstance(value, str)] if isinstance(data, dict) else []
    keyed = data.get("image", texts[0] if texts else None) if isinstance(data, dict) else None
    if not isinstance(keyed, str):
        raise damaged(file, TITLE, f"task {task.get('id')} has the data {str(data)[:80]}", "the address of an image")
    address = urlparse(keyed)
    local = parse_qs(address.query).get("d", [address.path])[0]  # /data/local-files/?d=images/a.jpg
    path = PurePosixPath(unquote(local))
    plain = _UPLOAD.sub("", path.name, count=1) if _UPLOAD.match(path.name) else path.name
    return tuple(dict.fromkeys((path.as_posix().lstrip("/"), path.name, plain)))


def _shape(region: dict[str, Any], size: Size) -> Shape:
    kind, value = region["type"], region["value"]
    labels = value.get(kind)
    if not isinstance(labels, list) or not labels or not isinstance(labels[0], str):
        raise ValueError(f"{kind} is {labels!r}")
    label = composed(labels[0])
    if region.get("image_rotation"):
        raise ValueError(f"the image was turned by {region['image_rotation']} degrees while it was labelled")
    if kind == "brushlabels":
        if value.get("format") != "rle" or not isinstance(value.get("rle"), list):
            raise ValueError(f"a brush of format {value.get('format')!r}")
        return Brush(label, size, value["rle"])
    height, width = size
    if kind == "polygonlabels":
        return Polygon(label, [[each / 100 for each in numbers(value["points"], "points")]], relative=True)
    x, y = value["x"] * width / 100, value["y"] * height / 100
    turn = float(value.get("rotation") or 0)
    if kind == "ellipselabels":
        return Ellipse(label, (x, y), (value["radiusX"] * width / 100, value["radiusY"] * height / 100), turn)
    across, down = value["width"] * width / 100, value["height"] * height / 100
    sin, cos = math.sin(math.radians(turn)), math.cos(math.radians(turn))  # turned clockwise about (x, y)
    corners = [(0.0, 0.0), (across, 0.0), (across, down), (0.0, down)]
    return Polygon(label, [[each for a, b in corners for each in (x + a * cos - b * sin, y + a * sin + b * cos)]])


@dataclass(frozen=True)
class Brush(Shape):
    """The opaque pixels of an RGBA picture that is packed by `rle_pack`. coded: its (H,W)."""

    coded: Size
    packed: Sequence[int]

    def mask(self, size: Size) -> Bits:
        """The pixels that the brush covers.

        Args:
            size: (H,W) of the image.

        Returns:
            (H,W), bool: where the picture's fourth channel is above 0.

        Raises:
            ValueError: the picture has another size, or its bytes are damaged.
        """
        if self.coded != size:
            raise ValueError(f"a brush on {list(self.coded)} pixels for an image of {list(size)} (height, width)")
        values = unpack(self.packed, 4 * size[0] * size[1])
        return values.reshape(*size, 4)[..., 3] > 0
