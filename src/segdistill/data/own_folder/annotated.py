"""A folder whose labels are a labelling tool's files: which image each drawing is of, and its mask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from segdistill.core.classes import Classes, distinct_colors
from segdistill.core.errors import DataError
from segdistill.core.paths import composed
from segdistill.core.pixels import PixelFormat
from segdistill.data.alignment import Exif
from segdistill.data.annotations.base import BACKGROUND, Annotations, Color, Drawing, is_background
from segdistill.data.annotations.readers import Format, read_annotations
from segdistill.data.formats import Header, image_suffixes
from segdistill.data.own_folder.files import OwnFiles
from segdistill.data.own_folder.names import Resolver
from segdistill.data.own_folder.splits import SplitRule
from segdistill.data.own_folder.templates import filled, find_files
from segdistill.data.reading import header_of_image
from segdistill.data.tables import LabelTable
from segdistill.data.values import Raw

_SPLITS = ("train", "val")


class AnnotatedFiles:
    """The images of a split and what is drawn on each.

    Args:
        root: of the data set.
        split: "train" or "val".
        images: template of the images, None for the usual folders, or that of the annotations.
        masks: the file or folder of the annotations, in which `{split}` stands for the split.
        format: of the annotations.
        rule: how images are split, where the annotations don't say it.
        partial: take the images that are there.
        pixels: what the images are.

    Attributes:
        pairs: each image and the file that its labels come from.
        names: of the classes in the files of both splits; a class has the same value in both.
        colors: of classes, where a file says them.
        notes: how the files were understood.
        searched: the folder of the images, if files were searched for.

    Raises:
        DataError: files are missing, damaged, or don't belong together.
    """

    def __init__(
        self,
        root: Path,
        split: str,
        images: str | None,
        masks: str,
        format: Format,
        rule: SplitRule,
        partial: bool,
        pixels: PixelFormat,
    ) -> None:
        suffixes = image_suffixes(pixels)
        sources = {each: root / filled(root, f"{masks}/", each).rstrip("/") for each in _SPLITS}
        both = {each: read_annotations(path, root, format) for each, path in sources.items()}
        mine = both[split]
        self.names = tuple(dict.fromkeys(name for each in both.values() for name in each.names))
        self.colors = {name: color for each in both.values() for name, color in each.colors.items()}
        self.void = tuple(dict.fromkeys(name for each in both.values() for name in each.void))
        self.values = {name: value for value, name in enumerate((*self.names, *self.void), 1)}
        self.title = mine.title
        by_source = sources["train"] != sources["val"]
        if by_source:
            _refuse_rule(rule)
        template = images or _usual_images(root, mine, split, by_source)
        self.notes = [f"{mine.file} is {mine.title}: {len(self.names)} classes, {len(mine.drawings)} images."]
        self.notes += mine.notes
        if by_source and template is not None:
            all_images = chosen = find_files(
                root, template, split, hint="The images of the annotations go there.", suffixes=suffixes
            )
        else:
            files = OwnFiles(root, split, template, masks, "annotated", rule, True, suffixes)
            all_images, chosen = files.all_images, files.chosen
            self.notes += files.notes
        self.drawings = self._drawings(mine, all_images, root, partial)
        if mine.lists_images:
            unlisted = [path for path in chosen.values() if path not in self.drawings]
            chosen = {name: path for name, path in chosen.items() if path in self.drawings}
            if unlisted and not by_source:
                self.notes.append(f"{len(unlisted)} images are not in {mine.file.name} and left out: {unlisted[0]}.")
        else:
            empty = sum(path not in self.drawings for path in chosen.values())
            if empty:
                self.notes.append(f"{empty} of {len(chosen)} images have no file of labels: nothing is drawn on them.")
        self.source = mine.file
        self.pairs = [(path, self._file(path)) for path in chosen.values()]
        parents = {path.parent for path in all_images.values()}
        self.searched = (min(parents, key=lambda each: len(each.parts)),) * 2 if parents else None

    def _file(self, image: Path) -> Path:
        """The file that an image's label comes from: where nothing is drawn, the image itself, whose size it has."""
        return self.drawings[image].file if image in self.drawings else image

    def _drawings(
        self, mine: Annotations, all_images: dict[str, Path], root: Path, partial: bool
    ) -> dict[Path, Drawing]:
        """Image -> what is drawn on it."""
        resolver = Resolver(all_images, {}, root)
        drawings: dict[Path, Drawing] = {}
        missing = []
        for drawing in mine.drawings:
            fitting = [names for text in drawing.images if (names := resolver.resolve(text, drawing.file))]
            names = min(fitting, key=len, default=set())  # the first that is certain
            if len(names) > 1:
                first, second = (all_images[name] for name in sorted(names)[:2])
                raise DataError(f"{drawing.file} names {drawing.images[0]!r}, which may be {first} or {second}.")
            if not names:
                missing.append(drawing)
                continue
            image = all_images[names.pop()]
            if image in drawings:
                raise DataError(
                    f"{drawing.file} and {drawings[image].file} both draw on {image}, the second as "
                    f"{drawing.images[0]!r}. Keep one of them."
                )
            drawings[image] = drawing
        if missing and (not partial or not drawings):
            where = next(iter(all_images.values())).parent if all_images else root
            raise DataError(
                f"{missing[0].file} ({mine.title}) names {missing[0].images[0]!r}, which is not in {where} "
                f"({len(missing)} of {len(mine.drawings)} such). Check data.images, a template as 'images/{{name}}'; "
                "data.partial=true takes what is there."
            )
        return drawings

    def table(self, unlabeled: str, unlisted: str, given: LabelTable | None) -> LabelTable:
        """The classes, and which value of the drawn masks each has.

        Args:
            unlabeled: what the area without a shape is, "background" or "void".
            unlisted: whether a class that `given` lacks is an "error", or "void".
            given: the classes of the recipe, by whose order and colors they go; None for those of the files.

        Returns:
            The table.

        Raises:
            DataError: fewer than two classes are left, or one is not listed.
        """
        background = [name for name in self.names if is_background(name)]
        void = {0: "unlabeled"} if unlabeled == "void" else {}
        void |= {self.values[name]: name for name in self.void}
        names = [name for name in self.names if name not in background]
        black: tuple[Color, ...] = ()
        if background or unlabeled != "void":
            names, black = [background[0] if background else BACKGROUND, *names], ((0, 0, 0),)
        shown = dict(zip(names, (*black, *distinct_colors(len(names))), strict=False))
        shown |= {name: self.colors[name] for name in names if name in self.colors}
        if given is not None:
            names = self._listed(list(given.classes.names), unlabeled, unlisted)
            shown = dict(zip(names, given.classes.colors, strict=True))
        if len(names) < 2:
            rest = "; data.unlabeled=void leaves out the rest, which is the class 'background' without it" if (
                unlabeled == "void") else ""  # fmt: skip
            raise DataError(f"{self.source} has {len(names)} class ({', '.join(names)}); two are needed{rest}.")
        ids = tuple(tuple(self._values(name, unlabeled)) or (65535 - at,) for at, name in enumerate(names))
        source = f"the {len(self.names)} classes of {self.source}"
        return LabelTable(Classes(tuple(names), tuple(shown[name] for name in names)), ids, void, source)

    def _listed(self, given: list[str], unlabeled: str, unlisted: str) -> list[str]:
        """The names that are given, if none is missing among them."""
        missing = [name for name in self.names if name not in given and not is_background(name)]
        if unlabeled != "void" and not any(map(is_background, given)):
            missing.append(BACKGROUND)
        if missing and unlisted == "error":
            rest = " The area without a shape is 'background'; data.unlabeled=void leaves it out." if (
                missing == [BACKGROUND]) else ""  # fmt: skip
            raise DataError(
                f"data.classes lacks {', '.join(missing[:5])} ({len(missing)} in all), which {self.source} has.{rest} "
                "Name them, or leave them out of training with data.unlisted=void."
            )
        return given

    def _values(self, name: str, unlabeled: str) -> list[int]:
        values = [value for each, value in self.values.items() if composed(each) == composed(name)]
        if is_background(name):
            values = [value for each, value in self.values.items() if is_background(each)]
            values += [] if unlabeled == "void" else [0]
        return values

    def load(self, image: Path, exif: Exif) -> tuple[Raw, Header]:
        """The mask of an image, drawn.

        Args:
            image: its file.
            exif: whether photos are turned by their EXIF tag.

        Returns:
            Values (H,W), and a header in the place of a mask file's.

        Raises:
            DataError: the annotations are of an image of another size, or damaged.
        """
        header = header_of_image(image)
        upright = header.size[::-1] if header.orientation >= 5 else header.size
        drawing = self.drawings.get(image) or Drawing(self.source, (image.name,), ())
        size = drawing.size or (header.size if exif == "ignore" else upright)
        if size not in (header.size, upright):
            raise DataError(
                f"{drawing.file} says that {drawing.images[0]} is {size[1]}x{size[0]} pixels (width x height), but "
                f"{image} is {header.size[1]}x{header.size[0]}. Export the images together with the annotations."
            )
        raw = drawing.raw(size, self.values)
        drawn = Header(self.title, "shapes", 8 * raw.dtype.itemsize, 1, size)
        # Relative or absent coordinates fit the photo as it is shown, so nothing is uncertain.
        return raw, drawn if drawing.size else replace(drawn, orientation=header.orientation)


def _refuse_rule(rule: SplitRule) -> None:
    """Refuse a rule beside files that say the split."""
    if rule.named:
        raise DataError(
            f"data.{rule.named} would do nothing: data.masks names the file of each split, by {{split}}. Leave it out, "
            "or name one file of all images."
        )


def _usual_images(root: Path, mine: Annotations, split: str, by_source: bool) -> str | None:
    """The template of the images where nothing says it: the folder images, else beside the annotations."""
    folders = [folder for folder in ("{split}/images", "images/{split}", "images") if
               (root / filled(root, f"{folder}/", split)).is_dir()]  # fmt: skip
    if folders:
        return f"{folders[0]}/{{name}}" if by_source else None
    folder = mine.file if mine.file.is_dir() else mine.file.parent
    return f"{folder.relative_to(root).as_posix()}/{{name}}" if folder.is_relative_to(root) else f"{folder}/{{name}}"
