"""Labels that are not masks, as annotation tools keep them: what is there, and what makes masks of it."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

from segdistill.data.own_folder.templates import files_below

_LOOKED_AT = 2000  # files
_LABEL_STUDIO = re.compile(r"task-\d+-annotation-.*-tag-.+\.png")


def describe_other_labels(root: Path, masks: Path | None) -> str:
    """What lies where masks are missing.

    Args:
        root: of the data set.
        masks: the folder where masks are expected, if there is one.

    Returns:
        What was found and which tool converts it, to go behind a message; "" if nothing is known of it.
    """
    files = [*islice(files_below(masks), _LOOKED_AT)] if masks is not None and masks.is_dir() else []
    for folder in (root, root / "annotations", root / "labels", root / "masks"):
        if folder.is_dir():
            files += [path for path in islice(folder.iterdir(), _LOOKED_AT) if path.is_file()]
    for path in files:
        if text := _describe(path):
            return f" {path} is there: {text}"
    return ""


def _describe(path: Path) -> str:
    suffix = path.suffix.lower()
    if _LABEL_STUDIO.fullmatch(path.name):
        return (
            "Label Studio's form, a PNG for each label. Put those of an image together into one mask (mask[png > 0] = "
            "class, with NumPy), or export as COCO and draw the masks with pycocotools (COCO.annToMask)."
        )
    if suffix == ".json":
        text = _beginning(path)
        if '"shapes"' in text:
            return "labelme's polygons. Their folder is read as it is, as data.masks=masks."
        if '"annotations"' in text or '"categories"' in text:
            return (
                f"COCO's polygons. They are read as they are: data.masks={path.name}, with its folder below data.root."
            )
        return "JSON, not masks. Export masks from the labelling tool, as PNG of class indices."
    if suffix == ".xml":
        return "XML of boxes or polygons. If it is 'CVAT for images', it is read as it is: data.masks=FILE."
    if suffix == ".txt" and re.fullmatch(r"\d+( \d*\.\d+){4,}", _beginning(path).partition("\n")[0].strip()):
        return "YOLO's boxes or polygons. Their folder is read as it is, as data.masks=labels."
    if suffix in {".npz", ".mat", ".h5", ".nii", ".dcm", ".heic", ".jp2"} or path.name.endswith(".nii.gz"):
        return f"{suffix[1:]} is not read. Save each mask as PNG, or as .npy of shape (height, width)."
    return ""


def _beginning(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return ""
