"""Roboflow's semantic export: `x_mask.png` beside each `x.jpg`, and `_classes.csv` with the value of each class.

Format: Roboflow's "Semantic Segmentation Masks": folders train, valid and test, each with a `_classes.csv` whose
header is `Pixel Value, Class`.
"""

from __future__ import annotations

from segdistill.core.errors import DataError
from segdistill.data.annotations.base import Annotations, Drawing
from segdistill.data.annotations.mask_files import MaskFile, labels_of
from segdistill.data.annotations.source import Source
from segdistill.data.own_folder.class_files import read_rows

TITLE = "Roboflow masks"

_CLASSES, _ENDING = "_classes.csv", "_mask.png"


def recognizes(source: Source) -> bool:
    """Whether a source is a folder with the list of classes and masks.

    Args:
        source: whose file names are looked at; nothing is read.
    """
    listed = source.path / _CLASSES
    return listed.is_file() and any(path.name.endswith(_ENDING) for path in source.files)


def read(source: Source) -> Annotations:
    """The masks of a folder.

    Args:
        source: the folder.

    Returns:
        A drawing for each mask.

    Raises:
        DataError: the list of classes is missing or damaged, or a folder below has another one.
    """
    listed = source.folder / _CLASSES
    rows = read_rows(listed)
    missing = next((row.name for row in rows if row.value is None), None)
    if missing is not None or not rows:
        raise DataError(f"{listed} ({TITLE}) says no value of {missing or 'any class'}; expected 'Pixel Value, Class'.")
    other = next((path for path in source.files if path.name == _CLASSES and read_rows(path) != rows), None)
    if other is not None:
        raise DataError(f"{other} names other classes than {listed}. Read one split a time: data.masks='{{split}}'.")
    labels = labels_of(((row.value, row.name) for row in rows if row.value is not None), listed, "value")
    drawings = []
    for path in source.files:
        if not path.name.endswith(_ENDING):
            continue
        stem = path.relative_to(source.folder).as_posix().removesuffix(_ENDING)
        drawings.append(Drawing(path, (stem,), (MaskFile("", path, labels),)))
    names = tuple(row.name for row in rows)
    return Annotations("roboflow", TITLE, source.folder, names, drawings, lists_images=True)
