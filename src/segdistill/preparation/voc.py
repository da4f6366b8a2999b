"""Pascal VOC 2012: the augmented labels and their list, from SBD."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from segdistill.core.errors import DataError
from segdistill.core.storage import write_aside, write_text
from segdistill.data.datasets.voc import AUG_LISTS
from segdistill.data.pairs import read_lines
from segdistill.data.tables import label_table
from segdistill.preparation.archives import Archive
from segdistill.preparation.base import Preparation, Task
from segdistill.preparation.jobs import do_all, save_index_mask
from segdistill.preparation.matlab import read_label_map


class VOC(Preparation):
    """SegmentationClassAug: VOC's own masks where it has them, SBD's for the rest; and the list of 10582 images."""

    source = (
        "VOCtrainval_11-May-2012.tar (~2 GB) from host.robots.ox.ac.uk/pascal/VOC/voc2012, and for the augmented "
        "labels SBD's benchmark.tgz (~1.4 GB) from home.bharathh.info/pubs/codes/SBD, or SegmentationClassAug.zip "
        "(ready PNGs, from several projects; it needs a train_aug.txt beside it)."
    )
    archives = (
        Archive("VOCtrainval_11-May-2012*.tar", below="VOCdevkit/VOC2012"),
        Archive("benchmark*.t*gz", below="benchmark_RELEASE/dataset", into="SBD"),
        Archive("SegmentationClassAug*.zip", below="SegmentationClassAug", into="SegmentationClassAug"),
    )

    def convert(self, task: Task) -> dict[str, int]:
        """Make the augmented masks and their list where SBD was unpacked; see `Preparation.convert`."""
        sbd = _sbd(task.root)
        if sbd is None:
            return {}
        root, folder = task.root, task.out or task.root / "SegmentationClassAug"
        sets = root / "ImageSets" / "Segmentation"
        train, val = (read_lines(sets / f"{split}.txt") for split in ("train", "val"))
        extra = [name for split in ("train", "val") for name in read_lines(sbd / f"{split}.txt")]
        names = {*train, *val}
        sources = [root / "SegmentationClass" / f"{name}.png" for name in sorted(names)]
        sources += [sbd / "cls" / f"{name}.mat" for name in sorted({*extra} - names)]
        jobs = [(source, made) for source in sources if not (made := folder / f"{source.stem}.png").is_file()]
        count = do_all("Augmented masks", jobs, _make, quiet=task.quiet)
        listed = root / AUG_LISTS[0]
        if not any((root / name).is_file() for name in AUG_LISTS):
            write_text(listed, "".join(f"{name}\n" for name in sorted({*train, *extra} - {*val})))
        return {"augmented masks": count}


def _sbd(root: Path) -> Path | None:
    """SBD's folder with cls/*.mat: below the root, or where OpenMMLab's layout has it."""
    folders = (root / "SBD", root.parent / "VOCaug" / "dataset")
    return next((folder for folder in folders if (folder / "cls").is_dir()), None)


def _make(job: tuple[Path, Path]) -> None:
    source, made = job
    if source.suffix == ".png":
        if not source.is_file():
            raise DataError(f"VOC's own mask {source} is missing. Complete the download (VOCtrainval_11-May-2012.tar).")
        write_aside(made, lambda aside: shutil.copyfile(source, aside))
        return
    label = read_label_map(source, "GTcls", "Segmentation")
    save_index_mask(made, label_table("voc").values()(label.astype(np.uint16), source))
