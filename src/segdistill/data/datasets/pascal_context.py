"""Pascal Context: 59 classes, or 60 with the background."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from segdistill.data.base import label_file
from segdistill.data.layout import require_root
from segdistill.data.pairs import FilePairs, Pair, read_lines
from segdistill.data.tables import LabelTable, as_table

LAST_RAW = 459
"""Raw labels run from 1 to 459; all but 59 of them count as background."""


class PascalContext(FilePairs):
    """Pascal Context on the images of VOC 2010: `<root>/JPEGImages/*.jpg`, `<root>/SegmentationClassContext/*.png`.

    `ImageSets/SegmentationContext/{train,val}.txt` name 4998 / 5105 images.
    Source: Mottaghi et al., "The Role of Context for Object Detection and Semantic Segmentation in the Wild", 2014.

    Args:
        root: The folder `VOCdevkit/VOC2010`.
        split: "train" or "val".
        num_classes: 59, where the background (mask value 0) is void, or 60, where it is class 0.
        order: What the mask values mean: "openmmlab" (alphabetical, as its converter and `segdistill prepare` write
            them) or "official" (the authors' list, VOC's objects first); a file does not show which.
        masks: The folder of the masks, below the root or absolute.
        partial: Take the images that are there with their masks; false refuses an incomplete data set.

    Raises:
        DataError: Files are missing.
    """

    counts: ClassVar[dict[str, int]] = {"train": 4998, "val": 5105}
    layout: ClassVar[str] = (
        "data.root must be VOCdevkit/VOC2010, with JPEGImages/ (VOCtrainval_03-May-2010.tar from "
        "host.robots.ox.ac.uk/pascal/VOC/voc2010) and SegmentationClassContext/ (made by `segdistill prepare "
        "pascal_context` from trainval_merged.json or from the .mat files)."
    )

    def __init__(
        self,
        *,
        root: Path,
        split: Literal["train", "val"] = "train",
        num_classes: Literal[59, 60] = 59,
        order: Literal["openmmlab", "official"] = "openmmlab",
        masks: Path = Path("SegmentationClassContext"),
        partial: bool = False,
    ) -> None:
        require_root(root, ["JPEGImages", "ImageSets", str(masks)], self.layout)
        names = read_lines(root / "ImageSets" / "SegmentationContext" / f"{split}.txt")
        pairs: list[Pair] = [(root / "JPEGImages" / f"{name}.jpg", root / masks / f"{name}.png") for name in names]
        table = context_table(num_classes, "id" if order == "openmmlab" else "official")
        super().__init__(
            pairs,
            table.classes,
            table.values(cause="Values from 0 to 59 are expected; masks of all 459 labels have to be converted."),
            expected=self.counts[split],
            partial=partial,
            hint="Complete the download, or train on what is there with data.partial=true.",
        )


def context_table(num_classes: int, column: str) -> LabelTable:
    """The table of the classes.

    Args:
        num_classes: 59, or 60 with the background as class 0.
        column: "id", "official" or "raw": the numbers that the masks hold.

    Returns:
        The table.
    """
    tree = label_file("pascal_context")
    background = tree["background"]
    if num_classes == 59:
        table = {"classes": tree["classes"], "void": {background[column]: background["name"]}}
    else:
        table = {"classes": [background, *tree["classes"]]}
    return as_table(table, "labels/pascal_context.yaml", column)
