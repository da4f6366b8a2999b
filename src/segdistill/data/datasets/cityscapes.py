"""Cityscapes: 19 classes, fine and coarse labels."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from segdistill.core.errors import DataError
from segdistill.data.layout import require_root
from segdistill.data.pairs import FilePairs, Pair, missing_files, names_in
from segdistill.data.tables import label_table

CITIES = {
    "train": {
        "aachen": 174, "bochum": 96, "bremen": 316, "cologne": 154, "darmstadt": 85, "dusseldorf": 221, "erfurt": 109,
        "hamburg": 248, "hanover": 196, "jena": 119, "krefeld": 99, "monchengladbach": 94, "strasbourg": 365,
        "stuttgart": 196, "tubingen": 144, "ulm": 95, "weimar": 142, "zurich": 122,
    },
    "val": {"frankfurt": 267, "lindau": 59, "munster": 174},
    "test": {"berlin": 544, "bielefeld": 181, "bonn": 46, "leverkusen": 58, "mainz": 298, "munich": 398},
}  # fmt: skip
"""Images of each city. They add up to the published totals of the splits; no complete download was at hand to count."""

_IMAGE = "_leftImg8bit.png"


class Cityscapes(FilePairs):
    """Cityscapes, 2048x1024: `<root>/leftImg8bit/<split>/<city>/*_leftImg8bit.png`, `<root>/gtFine/<split>/<city>/..`.

    Masks are `*_gtFine_labelIds.png` as published or `*_gtFine_labelTrainIds.png` as cityscapesScripts makes them.
    Validation (500 images) is fine; the test images (1525) have no public labels, theirs are all void.
    Source: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", 2016.

    Args:
        root: The folder that holds leftImg8bit/ and gtFine/.
        split: "train", "val" or "test".
        train: What the training images are: "fine" (2975 images), "coarse" (the same and train_extra, 22973 images, all
            labelled by gtCoarse/), or "both" (the same images, of which the 2975 are labelled by gtFine/).
        labels: The kind of mask that is read; "auto" takes the train ids unless more images lack them than label ids.
        partial: Take the images that are there with their masks; false refuses an incomplete data set.

    Raises:
        DataError: Files are missing, or there are polygons in the place of masks.
    """

    counts: ClassVar[dict[str, int]] = {"train": 2975, "train_extra": 19998, "val": 500, "test": 1525}
    layout: ClassVar[str] = (
        "data.root must hold leftImg8bit/ and gtFine/ (leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from "
        "cityscapes-dataset.com, after registration)."
    )

    def __init__(
        self,
        *,
        root: Path,
        split: Literal["train", "val", "test"] = "train",
        train: Literal["fine", "coarse", "both"] = "fine",
        labels: Literal["auto", "labelIds", "labelTrainIds"] = "auto",
        partial: bool = False,
    ) -> None:
        parts = _parts(split, train)
        need = [] if split == "test" else sorted({truth for _, truth in parts})
        require_root(root, ["leftImg8bit", *need], self.layout)
        by_part = {part: _images(root / "leftImg8bit" / part) for part, _ in parts}
        images = [(root / "leftImg8bit" / part / stem, truth) for part, truth in parts for stem in by_part[part]]
        table = label_table("cityscapes")
        kind = _kind(root, images, labels) if split != "test" else "labelIds"
        pairs: list[Pair] = [
            (_named(image, _IMAGE), None if split == "test" else _mask(root, image, truth, kind))
            for image, truth in images
        ]
        cause = f"Wrong kind of mask? Check that data.labels={labels} suits the files, or download them anew."
        super().__init__(
            pairs,
            table.classes,
            table.values(cause=cause) if kind == "labelIds" else table.indices(cause=cause),
            expected=sum(self.counts[part] for part, _ in parts),
            partial=partial,
            hint=f"{_cities(by_part)}Complete the download, or train on what is there with data.partial=true.",
        )


def _parts(split: str, train: str) -> list[tuple[str, str]]:
    """(folder of images, folder of masks) of a split."""
    if split != "train" or train == "fine":
        return [(split, "gtFine")]
    return [("train", "gtFine" if train == "both" else "gtCoarse"), ("train_extra", "gtCoarse")]


def _images(folder: Path) -> list[str]:
    """`<city>/<name>` of the images of a split, without their suffix."""
    cities = sorted(city.name for city in folder.iterdir() if city.is_dir()) if folder.is_dir() else []
    return [
        f"{city}/{name.removesuffix(_IMAGE)}"
        for city in cities
        for name in sorted(names_in(folder / city))
        if name.endswith(_IMAGE)
    ]


def _named(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _mask(root: Path, image: Path, truth: str, kind: str) -> Path:
    return _named(root / truth / image.relative_to(root / "leftImg8bit"), f"_{truth}_{kind}.png")


def _kind(root: Path, images: list[tuple[Path, str]], labels: str) -> str:
    """Which masks to read: those asked for, else those that fewest images lack, at a tie the train ids."""
    if labels != "auto":
        return labels
    kinds = ("labelTrainIds", "labelIds")
    lacking = {kind: len(missing_files(_mask(root, *image, kind) for image in images)) for kind in kinds}
    best = min(kinds, key=lambda kind: lacking[kind])
    if images and lacking[best] == len(images):
        polygons = _mask(root, *images[0], "polygons").with_suffix(".json")
        if polygons.is_file():
            raise DataError(f"{root} holds polygons and no masks. Draw them: segdistill prepare cityscapes root={root}")
    return best


def _cities(names: dict[str, list[str]]) -> str:
    """The first city of which images are missing, in a sentence; "" if it can't be told."""
    for part, stems in names.items():
        for city, count in CITIES.get(part, {}).items():
            here = sum(stem.startswith(f"{city}/") for stem in stems)
            if here < count:
                return f"Of leftImg8bit/{part}/{city} {here} of {count} images are there. "
    return ""
