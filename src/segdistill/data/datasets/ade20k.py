"""ADE20K: the 150 classes of the scene parsing challenge."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from segdistill.data.layout import require_root, stems
from segdistill.data.pairs import FilePairs, Pair
from segdistill.data.tables import label_table

_FOLDERS = {"train": "training", "val": "validation"}


class ADE20K(FilePairs):
    """ADE20K, 150 classes: `<root>/images/{training,validation}/*.jpg`, `<root>/annotations/<the same>/*.png`.

    Mask value 0 is everything else and void, 1..150 are the classes 0..149. 20210 / 2000 images.
    Source: Zhou et al., "Scene Parsing through ADE20K Dataset", 2017.

    Args:
        root: The folder `ADEChallengeData2016`.
        split: "train" or "val".
        partial: Take the images that are there with their masks; false refuses an incomplete data set.

    Raises:
        DataError: Files are missing.
    """

    counts: ClassVar[dict[str, int]] = {"train": 20210, "val": 2000}
    layout: ClassVar[str] = (
        "data.root must be ADEChallengeData2016, with images/ and annotations/ (ADEChallengeData2016.zip from "
        "sceneparsing.csail.mit.edu)."
    )

    def __init__(self, *, root: Path, split: Literal["train", "val"] = "train", partial: bool = False) -> None:
        require_root(root, ["images", "annotations"], self.layout)
        folder = _FOLDERS[split]
        images = stems(root / "images" / folder, ".jpg")
        masks = stems(root / "annotations" / folder, ".png")
        # The published files are numbered, so that a missing one has a name.
        published = [] if partial else [f"ADE_{split}_{number + 1:08d}" for number in range(self.counts[split])]
        pairs: list[Pair] = [
            (root / "images" / folder / f"{name}.jpg", root / "annotations" / folder / f"{name}.png")
            for name in sorted({*images, *masks, *published})
        ]
        table = label_table("ade20k")
        super().__init__(
            pairs,
            table.classes,
            table.values(cause="The masks of the full ADE20K download are others: take ADEChallengeData2016."),
            expected=self.counts[split],
            partial=partial,
            hint="Complete the download, or train on what is there with data.partial=true.",
        )
