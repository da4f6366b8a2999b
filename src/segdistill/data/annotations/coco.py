"""COCO JSON: polygons, run lengths as numbers or text, crowds.

Format: cocodataset.org, "Data format" (object detection): images {id, file_name, width, height}, categories {id, name},
annotations {image_id, category_id, segmentation, iscrowd}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segdistill.core.paths import composed
from segdistill.data.annotations.base import Annotations, Drawing, Shape, Size, damaged, entries
from segdistill.data.annotations.shapes import Polygon, Runs, numbers
from segdistill.data.annotations.source import Source

TITLE = "COCO JSON"


def recognizes(source: Source) -> bool:
    """Whether a source is COCO's, by the lists that its JSON holds.

    Args:
        source: whose first JSON file is parsed.

    Returns:
        True if it has two of the lists images, annotations and categories, and no panoptic segments.
    """
    tree = source.first_json()
    keys = {"images", "annotations", "categories"}
    return isinstance(tree, dict) and len(keys & tree.keys()) > 1 and not is_panoptic(tree)


def is_panoptic(tree: dict[str, Any]) -> bool:
    """Whether the annotations of a COCO file are segments of PNGs.

    Args:
        tree: the file's content.
    """
    annotations = tree.get("annotations")
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    return isinstance(first, dict) and "segments_info" in first


def read(source: Source) -> Annotations:
    """The images of a COCO file.

    Smaller areas are drawn on top of larger ones; a crowd is an area of its class like any other.

    Args:
        source: of one JSON file.

    Returns:
        A drawing of each image, also of those without annotations.

    Raises:
        DataError: the file is damaged.
    """
    file = source.only(".json")
    tree = source.json(file)
    names = category_names(tree, file, TITLE)
    images = by_id(tree, "images", file, TITLE)
    shapes: dict[Any, list[Shape]] = {key: [] for key in images}
    boxes = 0
    for annotation in entries(tree, "annotations", file, TITLE):
        image, category = annotation.get("image_id"), annotation.get("category_id")
        where = f"annotation {annotation.get('id')}"
        if not isinstance(image, int | str) or image not in images:
            raise damaged(file, TITLE, f"{where} is of image {image!r}", "the id of one of 'images'")
        if not isinstance(category, int | str) or category not in names:
            raise damaged(file, TITLE, f"{where} has category_id {category!r}", f"one of {sorted(names, key=str)[:20]}")
        try:
            shape = _shape(names[category], annotation.get("segmentation"))
        except (ValueError, TypeError, AttributeError) as error:
            raise damaged(file, TITLE, f"{where}: {error}", "polygons or run lengths") from error
        if shape is None:
            boxes += 1
        else:
            shapes[image].append(shape)
    drawings = []
    for key, image in images.items():
        name, size = image_of(image, file, TITLE)
        drawings.append(Drawing(file, (name,), shapes[key], size, by_area=True))
    notes = (f"{boxes} annotations of {file.name} have a box and no area, and are not drawn.",) if boxes else ()
    return Annotations("coco", TITLE, file, tuple(names.values()), drawings, lists_images=True, notes=notes)


def by_id(tree: Any, key: str, file: Path, title: str) -> dict[int | str, dict[str, Any]]:
    """The entries of a list by their `id`.

    Args:
        tree: the file's content.
        key: of the list.
        file: that holds it.
        title: of its format.

    Returns:
        Id -> entry.

    Raises:
        DataError: an id is missing, or two entries have it.
    """
    numbered: dict[int | str, dict[str, Any]] = {}
    for each in entries(tree, key, file, title):
        number = each.get("id")
        if not isinstance(number, int | str) or number in numbered:
            fault = f"an entry of '{key}' has the id {number!r}"
            raise damaged(file, title, f"{fault}: {str(each)[:80]}", "an id that no other one has")
        numbered[number] = each
    return numbered


def category_names(tree: Any, file: Path, title: str) -> dict[int | str, str]:
    """The names of `categories` by their `id`.

    Args:
        tree: the file's content.
        file: that holds it.
        title: of its format.

    Returns:
        Id -> name.

    Raises:
        DataError: an id or a name is missing, or two have one id.
    """
    categories = by_id(tree, "categories", file, title)
    for each in categories.values():
        if not isinstance(each.get("name"), str):
            raise damaged(file, title, f"a category is {str(each)[:80]}", "an id and a name")
    return {number: composed(each["name"]) for number, each in categories.items()}


def image_of(image: dict[str, Any], file: Path, title: str) -> tuple[str, Size]:
    """File name and size (H,W) of an entry of `images`.

    Args:
        image: the entry.
        file: that holds it.
        title: of its format.

    Returns:
        Name and size.

    Raises:
        DataError: it lacks one of them.
    """
    name, height, width = (image.get(key) for key in ("file_name", "height", "width"))
    if not isinstance(name, str) or not (isinstance(height, int) and isinstance(width, int) and height * width > 0):
        raise damaged(file, title, f"an image is {str(image)[:80]}", "file_name, width and height")
    return name, (height, width)


def _shape(label: str, segmentation: Any) -> Shape | None:
    """The area of a `segmentation`; None if it is empty."""
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        return Polygon(label, [numbers(ring, "a polygon") for ring in segmentation])
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not isinstance(counts, str | list):
        raise ValueError(f"segmentation is {str(segmentation)[:60]}")
    return Runs(label, (int(size[0]), int(size[1])), counts)
