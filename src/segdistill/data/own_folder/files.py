"""Which files one's own folder is: its pairs of image and mask, and how they were found."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from segdistill.core.errors import DataError
from segdistill.data.formats import IMAGE_SUFFIXES, MASK_SUFFIXES, is_of
from segdistill.data.own_folder.names import Resolver, pairs_on
from segdistill.data.own_folder.other_labels import describe_other_labels
from segdistill.data.own_folder.split_folders import folder_of, split_by_folders
from segdistill.data.own_folder.splits import EVERY, SplitRule, also_trained, list_files, split_by_lists
from segdistill.data.own_folder.templates import base_of, files_below, find_files, named
from segdistill.data.pairs import Pair


class OwnFiles:
    """The pairs of a split.

    Args:
        root: of the data set.
        split: "train" or "val".
        images: template of the images, None for the usual folders.
        masks: template of the masks, None for the usual folders.
        labels: which images have masks, "all", "some" or "none"; "annotated" if masks are drawn and no files.
        rule: how images are split.
        partial: leave out images without masks.
        suffixes: of image files.

    Attributes:
        pairs: image and mask of each.
        notes: what was not said and had to be understood, in sentences.
        searched: the folders of images and of masks, if files were searched for.
        templates: of images and masks, if files were searched for.
        all_images: all images that were found, by name.
        chosen: those of the split.

    Raises:
        DataError: files are missing, or what they mean is not certain.
    """

    def __init__(
        self,
        root: Path,
        split: str,
        images: str | None,
        masks: str | None,
        labels: str,
        rule: SplitRule,
        partial: bool,
        suffixes: frozenset[str] = IMAGE_SUFFIXES,
    ) -> None:
        self.root, self.split, self.labels = root, split, labels
        self.notes: list[str] = []
        self.searched: tuple[Path, Path] | None = None
        self.templates: tuple[str, str] | None = None
        self.all_images: dict[str, Path] = {}
        self.chosen: dict[str, Path] = {}
        listed = list_files(root, rule.lists, rule.given)
        self.pairs: list[Pair] = [*(pairs_on(listed[split], root) or ())] if split in listed else []
        if self.pairs:
            if split == "val" and "train" in listed:
                with contextlib.suppress(DataError, OSError):  # whoever opens the training split is told
                    trained = {image for image, _ in pairs_on(listed["train"], root) or ()}
                    self.notes += also_trained([image for image, _ in self.pairs], trained)
            if self._without_masks:
                self.pairs = [(image, None) for image, _ in self.pairs]
            return
        image_template, mask_template = self.templates = self._templates(images, masks)
        self.searched = base_of(root, image_template, split)[0], base_of(root, mask_template, split)[0]
        hint = "The images of the data set go there."
        all_images = find_files(root, image_template, split, hint=hint, suffixes=suffixes)
        mask_hint = None if labels == "none" else "The masks go there, as PNG with the images' names."
        every_mask = {} if self._without_masks else self._masks(mask_template, mask_hint)
        names = self._names(all_images, every_mask, image_template, listed, rule)
        self.all_images, self.chosen = all_images, {name: all_images[name] for name in names}
        self.pairs = self._with_masks(self.chosen, every_mask, len(all_images), mask_template, partial)

    @property
    def _without_masks(self) -> bool:
        """Whether no mask files are looked for."""
        return self.labels == "annotated" or (self.labels == "none" and self.split == "train")

    def _templates(self, images: str | None, masks: str | None) -> tuple[str, str]:
        """The templates that are given, else images/ and masks/, in the folder of the split if there is one."""
        if images is not None and masks is not None:
            return images, masks
        folder, other = (
            folder_of(self.split, self.root),
            folder_of("val" if self.split == "train" else "train", self.root),
        )
        has_images = [name for name in (folder, other) if name and (self.root / name / "images").is_dir()]
        if images is None and (self.root / "images").is_dir():
            if has_images:
                raise DataError(
                    f"{self.root} holds images/ and {has_images[0]}/images/: which are the images of the {self.split} "
                    "split? Say so, as data.images='{split}/images/{name}' or data.images='images/{name}', and the "
                    "same for data.masks."
                )
            folder = other = None
        inside = "{split}/" if folder or (other and images is None) else ""
        if inside and folder and folder != self.split:
            self.notes.append(f"The {self.split} split is the folder {folder}/.")
        return images or f"{inside}images/{{name}}", masks or f"{inside}masks/{{name}}"

    def _masks(self, template: str, hint: str | None) -> dict[str, Path]:
        try:
            return find_files(self.root, template, self.split, hint=hint, suffixes=MASK_SUFFIXES)
        except DataError as error:
            raise DataError(f"{error}{describe_other_labels(self.root, None)}") from error

    def _names(
        self,
        images: Mapping[str, Path],
        masks: Mapping[str, Path],
        template: str,
        listed: Mapping[str, Path],
        rule: SplitRule,
    ) -> list[str]:
        """The images of the split."""
        if "{split}" in template:
            if rule.named:
                raise DataError(
                    f"data.{rule.named} would do nothing: the images in {base_of(self.root, template, self.split)[0]} "
                    "are the split by their folder. Leave it out, or set data.images and data.masks without {split}."
                )
            return list(images)
        if listed:
            resolver = Resolver(images, masks, self.root)
            names = split_by_lists(resolver, listed, self.split)
            self.notes += resolver.notes
            return names
        where = base_of(self.root, template, self.split)[0]
        by_folder = None if rule.given else split_by_folders(list(images), where)
        if by_folder is None:
            if not rule.given:
                self.notes.append(
                    f"Nothing says which images are for validation: it is every {EVERY}th by name (data.val_every)."
                )
            names = rule.names(list(images), self.split)
            by_count = rule.val_fraction is None and rule.val_pattern is None
            if images and not names and by_count and self.labels != "annotated":
                raise DataError(
                    f"Every {rule.val_every or EVERY}th image by name is for validation, and {where} has "
                    f"{len(images)}: none is left for the split {self.split}. Say which are, as data.val_every=2."
                )
            return names
        counts = ", ".join(f"{len(by_folder[each])} {each}" for each in ("train", "val", "test") if each in by_folder)
        unused = " Those of test are not used." if "test" in by_folder else ""
        self.notes.append(f"The folders in {where} are the split: {counts}.{unused}")
        return by_folder[self.split]

    def _with_masks(
        self, images: Mapping[str, Path], masks: Mapping[str, Path], count: int, template: str, partial: bool
    ) -> list[Pair]:
        """Each image with its mask; without one where `labels` allows it, left out where `partial` does."""
        if self._without_masks:
            return [(image, None) for image in images.values()]
        without = [name for name in images if name not in masks]
        if partial and self.labels == "all":
            return [(image, masks[name]) for name, image in images.items() if name in masks]
        if without and self.labels == "all":
            folder = base_of(self.root, template, self.split)[0]
            raise DataError(
                f"{len(without)} of {count} images have no mask, first {images[without[0]]}; expected "
                f"{named(self.root, template, self.split, without[0])}. Images without labels are for data.labels=some "
                f"or none.{_other_name(without[0], folder) or describe_other_labels(self.root, folder)}"
            )
        return [(image, masks.get(name)) for name, image in images.items()]


def _other_name(name: str, folder: Path) -> str:
    """A mask that is named after the image and something more, and the template that would take it."""
    stem = name.split("/")[-1]
    for path in files_below(folder) if folder.is_dir() else ():
        if is_of(path, MASK_SUFFIXES) and path.name.startswith(stem) and path.stem != stem:
            template = path.with_name("{name}" + path.name.removeprefix(stem)).relative_to(folder.parent).as_posix()
            return f" {path} is there: if it is the mask, say data.masks='{template}'."
    return ""
