"""COCO-Stuff-164K: 171 classes, or 182 outputs as in CIRKD's code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from segdistill.core.errors import DataError
from segdistill.data.base import label_file
from segdistill.data.layout import require_root, stems
from segdistill.data.pairs import FilePairs, Pair, names_in
from segdistill.data.tables import LabelTable, as_table, label_table

_FOLDERS = {"train": "train2017", "val": "val2017"}
_TRAIN_IDS = "_labelTrainIds.png"


class CocoStuff(FilePairs):
    """COCO-Stuff-164K: `<root>/images/{train2017,val2017}/<id>.jpg`, `<root>/annotations/{train2017,val2017}/<id>.png`.

    Masks are the published pixel maps (COCO id - 1, 255 void), or OpenMMLab's `<id>_labelTrainIds.png` where there are
    no others. 118287 / 5000 images.
    Source: Caesar et al., "COCO-Stuff: Thing and Stuff Classes in Context", 2018.

    Args:
        root: The folder that holds images/ and annotations/.
        split: "train" or "val".
        num_classes: 171, or 182 for networks trained with CIRKD's code, which keeps all COCO ids as outputs; 11 of them
            are never annotated.
        partial: Take the images that are there with their masks; false refuses an incomplete data set.

    Raises:
        DataError: Files are missing, or the masks are not those that `num_classes` needs.
    """

    counts: ClassVar[dict[str, int]] = {"train": 118287, "val": 5000}
    layout: ClassVar[str] = (
        "data.root must hold images/ (train2017.zip and val2017.zip from cocodataset.org) and annotations/ "
        "(stuffthingmaps_trainval2017.zip from github.com/nightrome/cocostuff), each with train2017/ and val2017/."
    )

    def __init__(
        self,
        *,
        root: Path,
        split: Literal["train", "val"] = "train",
        num_classes: Literal[171, 182] = 171,
        partial: bool = False,
    ) -> None:
        require_root(root, ["images", "annotations"], self.layout)
        images, masks = root / "images" / _FOLDERS[split], root / "annotations" / _FOLDERS[split]
        suffix = _suffix(masks)
        if suffix == _TRAIN_IDS and num_classes == 182:
            raise DataError(f"{masks} holds *{_TRAIN_IDS} only; for num_classes=182 the published <id>.png are needed.")
        names = sorted({*stems(images, ".jpg"), *(name for name in stems(masks, suffix) if "_" not in name)})
        pairs: list[Pair] = [(images / f"{name}.jpg", masks / f"{name}{suffix}") for name in names]
        table = label_table("coco_stuff") if num_classes == 171 else table_of_182()
        cause = "Are these the pixel maps of stuffthingmaps_trainval2017.zip? The panoptic and 10k maps are others."
        super().__init__(
            pairs,
            table.classes,
            table.indices(cause=cause) if suffix == _TRAIN_IDS else table.values(cause=cause),
            expected=self.counts[split],
            partial=partial,
            hint="Complete the download, or train on what is there with data.partial=true.",
        )


def table_of_182() -> LabelTable:
    """All COCO ids as classes, in their order.

    Returns:
        The table of 182 classes; a class's index is its raw value.
    """
    tree = label_file("coco_stuff")
    rows = sorted([*tree["classes"], *tree["absent"]], key=lambda row: int(row["id"]))
    return replace(as_table({"classes": rows}, "labels/coco_stuff.yaml"), void=tree["void"])


def _suffix(masks: Path) -> str:
    names = names_in(masks)
    published = any(name.endswith(".png") and not name.endswith(_TRAIN_IDS) for name in names)
    return _TRAIN_IDS if names and not published else ".png"
