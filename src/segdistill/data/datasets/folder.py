"""Your own data: images and masks in any folders, a list of class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from segdistill.core.errors import DataError
from segdistill.core.numbers import Count
from segdistill.core.paths import composed, expanded
from segdistill.core.pixels import RGB, PixelFormat
from segdistill.data.alignment import Exif
from segdistill.data.annotations.readers import Format
from segdistill.data.formats import Header, image_suffixes
from segdistill.data.own_folder.annotated import AnnotatedFiles
from segdistill.data.own_folder.classes import (
    Color,
    color_values,
    merge_classes,
    own_table,
    own_values,
    recolored,
)
from segdistill.data.own_folder.files import OwnFiles
from segdistill.data.own_folder.options import as_pixel_format, class_names, raw_values
from segdistill.data.own_folder.splits import SplitRule
from segdistill.data.pairs import FilePairs
from segdistill.data.reading import require_folder
from segdistill.data.tables import LabelTable
from segdistill.data.values import LabelValues, Raw

Split = Literal["train", "val"]

_MASKS = (
    "mask files; data.masks names annotations, whose classes have names. Leave it out; data.classes and data.merge "
    "choose among the classes, as data.merge={car: null}."
)
_ANNOTATIONS = (
    "a labelling tool's files, which data.masks names without {name}; these are mask files. Leave it out; "
    "data.void=[0] leaves a value out of training."
)
"""Why an option of one kind of labels is refused for the other."""


class Folder(FilePairs):
    """`<root>/<split>/images/*` beside `<root>/<split>/masks/*.png`, or both without the split folders, or any other.

    Which image is for training: `{split}` in the template or split folders say it; else `lists`; else `val_pattern`,
    `val_fraction` or `val_every`; else folders train and val (or valid, validation) below the images; else every fifth
    image by name is for validation. A mask holds class indices, or the ids of the class table, or the keys of `values`.
    `notes` say how the files were understood.

    Args:
        root: The folder of the data set.
        split: "train" or "val".
        classes: Names, a file of them (`data/own_folder/class_files.py`), or a .yaml table (`data/tables.py`); null is
            `<root>/classes.txt`.
        images: The name template of the images below the root, as "photos/{name}.jpg" (`data/own_folder/templates.py`);
            null is "images/{name}", in the split's folder if there is one.
        masks: The name template of the masks, as "labels/{split}/{name}_ids.png"; null is "masks/{name}", likewise.
            Without {name} the file or folder of a labelling tool's export, as "annotations/{split}.json".
        format: What the export is, one of the readers of `data/annotations`; "auto" sees it by the content.
        unlabeled: What the area that an export labels with nothing is: the class "background", or "void".
        labels: Whether "all" images have masks, "some" (the others are trained on by what needs no label), or "none":
            the training images' masks are not looked for, and validation scores what masks there are.
        lists: The list file of each split, {train: FILE, val: FILE}; one leaves the rest to the other split, and two
            columns are image and mask. null is `<root>/train.txt` and `val.txt` where they are.
        val_pattern: Names that are for validation, as "night/*", or a list of such patterns.
        val_fraction: The share of the images that is for validation, drawn by `split_seed`.
        val_every: Every so many-th image by name is for validation; 5 if nothing else says which, folders neither.
        split_seed: What `val_fraction` is drawn by.
        values: What raw values mean, {7: road, 8: 1, 9: null}: a class by name or index, null for void; in the place of
            the ids of the class table.
        void: Values (or colors) that are not trained on, beside 255.
        unlisted: Whether a value that is not named is an "error", or "void".
        merge: Classes that count as another or as void, {truck: car, rider: null}.
        mask_colors: Whether masks are painted in the classes' colors, not with numbers.
        colors: Colors of the classes, {road: [128, 64, 128]}, over those of the class table.
        exif: Whether photos are turned upright by their EXIF tag, "apply" or "ignore"; "auto" refuses those whose mask
            may have been drawn on either picture.
        channels: How many channels the images have, all of which are read from .png, .tif and .npy (H,W,C) files.
        range: The stored values that become black and white, as [0, 4095], or a pair for each channel: for images of
            more than 8 bits, and for floats. null is for bytes.
        partial: Take the images that are there with their masks; false refuses an incomplete data set.

    Raises:
        DataError: Files are missing, or options contradict each other or the files.
    """

    def __init__(
        self,
        *,
        root: Path,
        split: Split = "train",
        classes: Annotated[list[str] | Path | None, BeforeValidator(class_names)] = None,
        images: str | None = None,
        masks: str | None = None,
        format: Format = "auto",
        unlabeled: Literal["background", "void"] = "background",
        labels: Literal["all", "some", "none"] = "all",
        lists: dict[Split, Path] | None = None,
        val_pattern: str | list[str] | None = None,
        val_fraction: float | None = None,
        val_every: int | None = None,
        split_seed: int = 0,
        values: Annotated[dict[int, int | str | None] | None, BeforeValidator(raw_values)] = None,
        void: list[int | Color] | None = None,
        unlisted: Literal["error", "void"] = "error",
        merge: dict[str, str | None] | None = None,
        mask_colors: bool = False,
        colors: dict[str, Any] | None = None,
        exif: Exif = "auto",
        channels: Count = 3,
        range: tuple[float, float] | list[tuple[float, float]] | None = None,
        partial: bool = False,
    ) -> None:
        pixels = as_pixel_format(channels, range)
        root, classes = expanded(root), Path(classes) if isinstance(classes, str) else classes
        require_folder(root, "data.root must hold images/ and masks/, or train/ and val/ with both in each.")
        rule = SplitRule(val_every, val_fraction, val_pattern, split_seed, lists)
        self.annotated: AnnotatedFiles | None = None
        self.templates: tuple[str, str] | None = None
        files: OwnFiles | AnnotatedFiles
        if masks is not None and "{name}" not in masks:
            files = self.annotated = AnnotatedFiles(root, split, images, masks, format, rule, partial, pixels)
            _refuse(_MASKS, values=values is not None, mask_colors=mask_colors, labels=labels != "all", void=bool(void))
            given = own_table(classes, root, colors) if classes is not None else None
            source = files.table(unlabeled, unlisted, given)
            if given is None and colors:
                source = recolored(source, colors)
        else:
            _refuse(_ANNOTATIONS, format=format != "auto", unlabeled=unlabeled != "background")
            files = OwnFiles(root, split, images, masks, labels, rule, partial, image_suffixes(pixels))
            self.templates = files.templates
            source = own_table(classes, root, colors)
        table, meaning = _meaning(source, merge or {}, mask_colors, values, void or (), unlisted)
        super().__init__(files.pairs, table.classes, meaning, partial=partial, exif=exif, pixels=pixels)
        self.notes, self.searched = [*files.notes, *_notes(pixels)], files.searched

    def load_mask(self, index: int) -> tuple[Raw, Header]:
        """As of `FilePairs`; a mask of annotations is drawn.

        Args:
            index: of a pair with a mask.

        Returns:
            (H,W), and the header; of a drawn mask one in the place of a file's.

        Raises:
            DataError: the mask or the annotations can't be read.
        """
        if self.annotated is None:
            return super().load_mask(index)
        return self.annotated.load(self.pairs[index][0], self.exif)


def _notes(pixels: PixelFormat) -> list[str]:
    """What is understood of images that are not RGB."""
    if pixels.channels == RGB:
        return []
    how = "their mean" if pixels.channels == 1 else "in turn (R, G, B, R, ...)"
    return [
        f"Images have {pixels.channels} channel(s); a network without mean and std of its own takes those "
        f"of ImageNet's RGB, {how}."
    ]


def _refuse(why: str, **options: bool) -> None:
    """Refuse the first option that is set, for a reason that the message ends with."""
    for key, is_set in options.items():
        if is_set:
            raise DataError(f"data.{key} is for {why}")


def _meaning(
    source: LabelTable,
    merge: Mapping[str, str | None],
    mask_colors: bool,
    values: Mapping[int, int | str | None] | None,
    void: Sequence[int | Color],
    unlisted: str,
) -> tuple[LabelTable, LabelValues]:
    """The classes that are trained, and what the masks' values or colors mean."""
    merge = {composed(name): target and composed(target) for name, target in merge.items()}
    table = merge_classes(source, merge)
    if not mask_colors:
        unlisted_is_void = unlisted == "void"
        return table, own_values(source, table, merge, values=values, void=void, unlisted_is_void=unlisted_is_void)
    if values is not None or unlisted == "void":
        key = "values" if values is not None else "unlisted"
        raise DataError(f"data.{key} is for masks of values, data.mask_colors for painted ones. Keep one.")
    return table, color_values(source, table, merge, void)
