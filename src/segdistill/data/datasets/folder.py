"""Your own data: images and masks in any folders, a list of class names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from segdistill.core.errors import DataError
from segdistill.data.own_folder.classes import Color, color_values, merge_classes, own_table, own_values
from segdistill.data.own_folder.splits import check_rules, list_files, pairs_on, split_by_lists, split_by_rule
from segdistill.data.own_folder.templates import find_files, named
from segdistill.data.pairs import FilePairs, Pair
from segdistill.data.reading import require_folder

Split = Literal["train", "val"]


class Folder(FilePairs):
    """`<root>/<split>/images/*` beside `<root>/<split>/masks/*.png`, or both without the split folders, or any other.

    Which image is for training: `{split}` in the template or split folders say it; else `lists`; else `val_pattern`,
    `val_fraction` or `val_every`. A mask is an 8-bit PNG of class indices, or of the ids of the class table, or of the
    keys of `values`; values beyond 255 make it a 16-bit one.

    Args:
        root: The folder of the data set.
        split: "train" or "val".
        classes: Names, a file with one name a line, or a .yaml table (`data/tables.py`); null is `<root>/classes.txt`.
        images: The name template of the images below the root, as "photos/{name}.jpg" (`data/own_folder/templates.py`);
            null is "images/{name}", in the split's folder if there is one.
        masks: The name template of the masks, as "labels/{split}/{name}_ids.png"; null is "masks/{name}", likewise.
        labels: Whether "all" images have masks, "some" (the others are trained on by what needs no label), or "none":
            the training images' masks are not looked for, and validation scores what masks there are.
        lists: The list file of each split, {train: FILE, val: FILE}; one leaves the rest to the other split, and two
            columns are image and mask. null is `<root>/train.txt` and `val.txt` where they are.
        val_pattern: Names that are for validation, as "night/*", or a list of such patterns.
        val_fraction: The share of the images that is for validation, drawn by `split_seed`.
        val_every: Every so many-th image by name is for validation; 5 if nothing else says which.
        split_seed: What `val_fraction` is drawn by.
        values: What raw values mean, {7: road, 8: 1, 9: null}: a class by name or index, null for void; in the place of
            the ids of the class table.
        void: Values (or colors) that are not trained on, beside 255.
        unlisted: Whether a value that is not named is an "error", or "void".
        merge: Classes that count as another or as void, {truck: car, rider: null}.
        mask_colors: Whether masks are painted in the classes' colors, not with numbers.
        colors: Colors of the classes, {road: [128, 64, 128]}, over those of the class table.
        partial: Take the images that are there with their masks; false refuses an incomplete data set.

    Raises:
        DataError: Files are missing, or options contradict each other or the files.
    """

    def __init__(
        self,
        *,
        root: Path,
        split: Split = "train",
        classes: list[str] | Path | None = None,
        images: str | None = None,
        masks: str | None = None,
        labels: Literal["all", "some", "none"] = "all",
        lists: dict[Split, Path] | None = None,
        val_pattern: str | list[str] | None = None,
        val_fraction: float | None = None,
        val_every: int | None = None,
        split_seed: int = 0,
        values: dict[int, int | str | None] | None = None,
        void: list[int | Color] | None = None,
        unlisted: Literal["error", "void"] = "error",
        merge: dict[str, str | None] | None = None,
        mask_colors: bool = False,
        colors: dict[str, Any] | None = None,
        partial: bool = False,
    ) -> None:
        require_folder(root, "data.root must hold images/ and masks/, or train/ and val/ with both in each.")
        check_rules(val_every, val_fraction, val_pattern, lists)
        listed = list_files(root, lists, (val_every or val_fraction or val_pattern) is not None)
        pairs: list[Pair] | None = [*(pairs_on(listed[split], root) or ())] if split in listed else None
        if not pairs:
            inside = "{split}/" if (root / split).is_dir() else ""
            images, masks = images or f"{inside}images/{{name}}", masks or f"{inside}masks/{{name}}"
            by_rule = functools.partial(
                split_by_rule,
                split=split,
                val_every=val_every,
                val_fraction=val_fraction,
                val_pattern=[val_pattern] if isinstance(val_pattern, str) else val_pattern,
                seed=split_seed,
            )
            files, count = _images_of_split(root, images, split, listed, by_rule)
            pairs = _with_masks(files, count, root, masks, split, labels, partial)
        source = own_table(classes, root, colors)
        table = merge_classes(source, merge or {})
        if mask_colors:
            if values is not None or not (colors or isinstance(classes, Path)):
                raise DataError("data.mask_colors needs data.colors (or a class table with colors), not data.values.")
            meaning = color_values(source, table, merge or {}, void or ())
        else:
            meaning = own_values(table, values=values, void=void or (), unlisted_is_void=unlisted == "void")
        super().__init__(pairs, table.classes, meaning, partial=partial)


def _images_of_split(
    root: Path,
    template: str,
    split: str,
    listed: Mapping[str, Path],
    by_rule: Callable[[Sequence[str]], list[str]],
) -> tuple[dict[str, Path], int]:
    """The image of each name of the split, and how many images fit the template in all."""
    images = find_files(root, template, split, hint="The images of the data set go there.")
    if "{split}" in template:
        names = list(images)
    elif listed:
        names = split_by_lists(images, root, listed, split)
    else:
        names = by_rule(list(images))
    return {name: images[name] for name in names}, len(images)


def _with_masks(
    images: Mapping[str, Path], count: int, root: Path, template: str, split: str, labels: str, partial: bool
) -> list[Pair]:
    """Each image with its mask; without one where `labels` allows it, left out where `partial` does."""
    if labels == "none" and split == "train":
        return [(image, None) for image in images.values()]
    hint = None if labels == "none" else "The masks go there, as PNG with the images' names."
    masks = find_files(root, template, split, hint=hint)
    without = [name for name in images if name not in masks]
    if partial and labels == "all":
        return [(image, masks[name]) for name, image in images.items() if name in masks]
    if without and labels == "all":
        raise DataError(
            f"{len(without)} of {count} images have no mask, first {images[without[0]]}; expected "
            f"{named(root, template, split, without[0])}. Images without labels are for data.labels=some or none."
        )
    return [(image, masks.get(name)) for name, image in images.items()]
