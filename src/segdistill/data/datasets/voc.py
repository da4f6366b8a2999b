"""Pascal VOC 2012 with the extra labels of SBD: 20 objects and the background."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from segdistill.core.errors import DataError
from segdistill.data.layout import require_root
from segdistill.data.pairs import FilePairs, Pair, read_lines
from segdistill.data.tables import label_table

AUG_LISTS = (
    "ImageSets/SegmentationAug/train_aug.txt",
    "ImageSets/Segmentation/train_aug.txt",
    "ImageSets/Segmentation/trainaug.txt",
    "train_aug.txt",
)
"""Where the list of the 10582 training images is found."""


class VOC(FilePairs):
    """Pascal VOC 2012: `<root>/JPEGImages/*.jpg`, `<root>/SegmentationClass*/*.png`, with SBD's labels 10582 / 1449.

    Masks are grey or palette PNGs; 0 is the background, a class, and 255 is void.
    Source: Everingham et al., VOC 2012; Hariharan et al., "Semantic Contours from Inverse Detectors", 2011 (SBD).

    Args:
        root: The folder `VOCdevkit/VOC2012`.
        split: "train" or "val" (VOC's 1449 images).
        augmented: Train on the 10582 images of VOC and SBD (labels in SegmentationClassAug/) rather than on VOC's own
            1464 (in SegmentationClass/).
        partial: Take the images that are there with their masks; false refuses an incomplete data set.

    Raises:
        DataError: Files are missing.
    """

    counts: ClassVar[dict[str, int]] = {"train": 10582, "val": 1449}
    layout: ClassVar[str] = (
        "data.root must be VOCdevkit/VOC2012, with JPEGImages/ and ImageSets/ (VOCtrainval_11-May-2012.tar from "
        "host.robots.ox.ac.uk/pascal/VOC/voc2012)."
    )

    def __init__(
        self,
        *,
        root: Path,
        split: Literal["train", "val"] = "train",
        augmented: bool = True,
        partial: bool = False,
    ) -> None:
        require_root(root, ["JPEGImages", "ImageSets"], self.layout)
        large = split == "train" and augmented
        names = _augmented(root) if large else read_lines(root / "ImageSets" / "Segmentation" / f"{split}.txt")
        masks, extended = root / "SegmentationClass", root / "SegmentationClassAug"
        folder = extended if large or not masks.is_dir() else masks
        pairs: list[Pair] = [(root / "JPEGImages" / f"{name}.jpg", folder / f"{name}.png") for name in names]
        table = label_table("voc")
        super().__init__(
            pairs,
            table.classes,
            table.values(cause="SegmentationObject holds instances; the classes are in SegmentationClass*."),
            expected=self.counts[split] if large or split == "val" else 1464,
            partial=partial,
            hint=f"{_labels_hint(folder, root)}Or train on what is there with data.partial=true.",
        )


def _augmented(root: Path) -> list[str]:
    """The names of the 10582 training images, from the first list that is there."""
    for name in AUG_LISTS:
        if (root / name).is_file():
            # CIRKD's and DeepLab's lists hold "name" or "/JPEGImages/name.jpg /SegmentationClassAug/name.png".
            return [Path(line.split()[0]).stem for line in read_lines(root / name)]
    aug = root / "ImageSets" / "Segmentation" / "aug.txt"
    if aug.is_file():  # OpenMMLab's list of what SBD adds to VOC's own
        return [*read_lines(aug.with_name("train.txt")), *read_lines(aug)]
    raise DataError(
        f"No list of the augmented training images in {root}: expected {AUG_LISTS[0]} or another of its names. Make it "
        f"and the masks from SBD with `segdistill prepare voc root={root} archives=FOLDER`, or train on VOC's own 1464 "
        "images with data.augmented=false."
    )


def _labels_hint(folder: Path, root: Path) -> str:
    if folder.is_dir():
        return "Complete the download. "
    return f"No folder {folder}: make it from SBD (segdistill prepare voc root={root} archives=FOLDER). "
