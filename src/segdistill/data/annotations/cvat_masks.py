"""CVAT's segmentation masks: a zip, or its folder, with labelmap.txt and painted masks in SegmentationClass.

Format: docs.cvat.ai, "Segmentation mask 1.1": labelmap.txt has lines `label:r,g,b:parts:actions`.
"""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from segdistill.core.classes import as_color
from segdistill.core.errors import DataError
from segdistill.core.paths import composed
from segdistill.data.annotations.base import Annotations, Color, Drawing, damaged
from segdistill.data.annotations.mask_files import MaskFile, labels_of
from segdistill.data.annotations.source import Source
from segdistill.data.values import packed

TITLE = "CVAT masks"

_MAP, _MASKS = "labelmap.txt", "SegmentationClass"


def recognizes(source: Source) -> bool:
    """Whether a source is a folder or archive with a label map and painted masks.

    Args:
        source: a folder, or a zip whose list of members is read.
    """
    if source.path.is_dir():
        return (source.path / _MAP).is_file() and (source.path / _MASKS).is_dir()
    return zipfile.is_zipfile(source.path) and _MAP in _members(source.path)


def read(source: Source) -> Annotations:
    """The masks of an export.

    Black is no class where the map doesn't name it.

    Args:
        source: the archive or its folder.

    Returns:
        A drawing for each mask.

    Raises:
        DataError: a file is missing or damaged.
    """
    zipped = not source.path.is_dir()
    if zipped:
        members = _members(source.path)
        masks = [name for name in members if _MASKS in PurePosixPath(name).parts and name.lower().endswith(".png")]
    else:
        masks = [path.relative_to(source.path).as_posix() for path in source.of(".png") if _MASKS in path.parts]
    colors = _colors(source.path, zipped)
    labels = labels_of(((packed(color), name) for name, color in colors.items()), source.path, "color")
    drawings = []
    for mask in masks:
        inner = PurePosixPath(mask.partition(f"{_MASKS}/")[2]).with_suffix("").as_posix()
        shape = (
            MaskFile("", source.path, labels, mask, colors=True)
            if zipped
            else MaskFile("", source.path / mask, labels, colors=True)
        )
        drawings.append(Drawing(shape.path, (inner,), (shape,)))
    return Annotations("cvat_masks", TITLE, source.path, tuple(colors), drawings, lists_images=True, colors=colors)


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return sorted(name for name in archive.namelist() if not name.endswith("/"))
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a whole zip archive ({error}). Download it anew.") from error


def _colors(path: Path, zipped: bool) -> dict[str, Color]:
    """The label map: name -> color."""
    try:
        if zipped:
            with zipfile.ZipFile(path) as archive:
                text = archive.read(_MAP).decode("utf-8-sig")
        else:
            text = (path / _MAP).read_text(encoding="utf-8-sig")
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise damaged(path, TITLE, f"{_MAP}: {error}", f"a text file {_MAP} in it") from error
    colors: dict[str, Color] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        numbers = rest.partition(":")[0].split(",")
        if len(numbers) != 3 or not all(number.strip().isdecimal() for number in numbers):
            raise damaged(path, TITLE, f"{_MAP} has the line {line[:60]!r}", "label:r,g,b:parts:actions")
        colors[composed(name.strip())] = as_color([int(number) for number in numbers], f"{path}: color of {name}")
    return colors
