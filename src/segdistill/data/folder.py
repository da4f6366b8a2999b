"""Your own data: a folder of images, a folder of masks, a list of class names."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from segdistill.data.base import Classes, distinct_colours
from segdistill.data.pairs import FilePairs, Pair, read_lines
from segdistill.data.reading import IMAGE_SUFFIXES, require_folder
from segdistill.errors import DataError


class Folder(FilePairs):
    """`<root>/<split>/images/*` beside `<root>/<split>/masks/*.png`, or both without the split folders.

    An image and its mask share their stem. A mask is an 8-bit PNG of class indices; 255 and the values in `void`
    are not trained on. Classes come from `classes` (names, or a file with one name a line; default
    `<root>/classes.txt`). Without split folders, `<root>/<split>.txt` lists the stems of a split, and a split without
    a list gets what the other leaves; without lists, every `val_every`-th image by name is for validation and the
    rest for training.
    """

    def __init__(
        self,
        *,
        root: Path,
        split: Literal["train", "val"] = "train",
        classes: list[str] | Path | None = None,
        void: list[int] | None = None,
        val_every: int = 5,
    ) -> None:
        require_folder(root, "data.root must hold images/ and masks/, or train/ and val/ with both in each.")
        base = root / split if (root / split).is_dir() else root
        images = _by_stem(require_folder(base / "images", "The images of the data set go there."))
        masks = _by_stem(require_folder(base / "masks", "The masks go there, as PNG with the images' names."))
        without = sorted(set(images) - set(masks))
        if without:
            raise DataError(
                f"{len(without)} of {len(images)} images have no mask, first {images[without[0]]}; expected "
                f"{base / 'masks' / (without[0] + '.png')}."
            )
        stems = sorted(images) if base != root else _split(root, split, sorted(images), val_every)
        names = _class_names(classes, root)
        pairs: list[Pair] = [(images[stem], masks[stem]) for stem in stems]
        table = Classes(names=names, colours=distinct_colours(len(names)))
        super().__init__(pairs, table, void=frozenset(void or ()))


def _by_stem(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if path.stem in files:
            raise DataError(f"{path} and {files[path.stem]} share a name, so their mask is not certain. Rename one.")
        files[path.stem] = path
    return files


def _split(root: Path, split: str, stems: list[str], val_every: int) -> list[str]:
    """The stems of a split: those of its list, those that the other split's list leaves, or every n-th."""
    listed = {name: root / f"{name}.txt" for name in ("train", "val")}
    if listed[split].is_file():
        return _listed(listed[split], stems)
    other = listed["val" if split == "train" else "train"]
    if other.is_file():
        taken = set(_listed(other, stems))
        return [stem for stem in stems if stem not in taken]
    if val_every < 2:
        raise DataError(f"data.val_every is {val_every}; expected 2 or more (every n-th image is for validation).")
    return [stem for i, stem in enumerate(stems) if (i % val_every == val_every - 1) == (split == "val")]


def _listed(file: Path, stems: list[str]) -> list[str]:
    """The stems that a list file names, with or without folder and suffix."""
    known = set(stems)
    named = [(Path(line).name, Path(line).stem) for line in read_lines(file)]
    unknown = sorted(name for name, stem in named if name not in known and stem not in known)
    if unknown:
        raise DataError(f"{file} names {unknown[0]!r}, which is not in {file.parent / 'images'} ({len(unknown)} such).")
    return [name if name in known else stem for name, stem in named]


def _class_names(classes: list[str] | Path | None, root: Path) -> tuple[str, ...]:
    names = classes if isinstance(classes, list) else read_lines(classes or root / "classes.txt")
    twice = sorted({name for name in names if names.count(name) > 1})
    if len(names) < 2 or twice:
        found = f"{twice[0]!r} twice" if twice else f"{len(names)} name(s)"
        raise DataError(
            f"Expected two or more different class names, found {found}. Give "
            "data.classes=[road,car,...] or one name a line in classes.txt."
        )
    return tuple(names)
