"""COCO panoptic: a JSON with a PNG for each image, whose color R + 256 G + 65536 B is the id of a segment.

Format: cocodataset.org, "Data format" (panoptic segmentation): annotations {image_id, file_name, segments_info [{id,
category_id}]}; the PNGs lie in the folder that is named like the JSON. 0 is no segment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segdistill.core.classes import as_color
from segdistill.core.errors import DataError
from segdistill.core.paths import composed
from segdistill.data.annotations.base import Annotations, Drawing, Shape, damaged, entries
from segdistill.data.annotations.coco import by_id, category_names, image_of, is_panoptic
from segdistill.data.annotations.mask_files import NOTHING, MaskFile
from segdistill.data.annotations.source import Source

TITLE = "COCO panoptic"


def recognizes(source: Source) -> bool:
    """Whether a source is COCO's with `segments_info`.

    Args:
        source: whose first JSON file is parsed.
    """
    tree = source.first_json()
    return isinstance(tree, dict) and is_panoptic(tree)


def read(source: Source) -> Annotations:
    """The images of a panoptic file; a segment is an area of its category, a crowd as well.

    Args:
        source: of one JSON file.

    Returns:
        A drawing of each image.

    Raises:
        DataError: the file is damaged, or PNGs are missing.
    """
    file = source.only(".json")
    tree = source.json(file)
    names = category_names(tree, file, TITLE)
    colors = {
        composed(each["name"]): as_color(each["color"], f"{file}: color of {each['name']}")
        for each in entries(tree, "categories", file, TITLE)
        if "color" in each
    }
    images = by_id(tree, "images", file, TITLE)
    shapes: dict[Any, list[Shape]] = {key: [] for key in images}
    for annotation in entries(tree, "annotations", file, TITLE):
        image, name = annotation.get("image_id"), annotation.get("file_name")
        if not isinstance(image, int | str) or image not in images or not isinstance(name, str):
            raise damaged(file, TITLE, f"an annotation is {str(annotation)[:80]}", "image_id and file_name")
        shapes[image].append(MaskFile("", _png(file, name), _labels(annotation, names, file), colors=True))
    drawings = []
    for key, image in images.items():
        name, size = image_of(image, file, TITLE)
        drawings.append(Drawing(file, (name,), shapes[key], size))
    return Annotations("coco_panoptic", TITLE, file, tuple(names.values()), drawings, lists_images=True, colors=colors)


def _labels(annotation: dict[str, Any], names: dict[Any, str], file: Path) -> dict[int, str]:
    """Color of a segment, as 0xRRGGBB, -> its category."""
    labels = {0: NOTHING}
    for segment in entries(annotation, "segments_info", file, TITLE):
        number, category = segment.get("id"), segment.get("category_id")
        if not isinstance(number, int) or category not in names:
            where = f"a segment of {annotation.get('file_name')} is {segment}"
            raise damaged(file, TITLE, where, f"an id and a category of {sorted(names, key=str)[:20]}")
        labels[(number & 255) << 16 | (number >> 8 & 255) << 8 | number >> 16 & 255] = names[category]
    return labels


def _png(file: Path, name: str) -> Path:
    """The PNG of an image: in the folder named like the JSON, or beside it."""
    for folder in (file.with_suffix(""), file.parent, file.parent / "masks"):
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{file} ({TITLE}) names {name}, which is not in {file.with_suffix('')}. Unpack the PNGs there.")
