"""Pascal Context: index masks from the JSON of PASCAL in Detail, or from the authors' .mat files."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.errors import DataError
from segdistill.core.storage import write_text
from segdistill.data.annotations.rle import decode
from segdistill.data.datasets.pascal_context import LAST_RAW, context_table
from segdistill.data.pairs import read_lines
from segdistill.data.values import LabelValues
from segdistill.preparation.archives import Archive
from segdistill.preparation.base import Preparation, Task
from segdistill.preparation.jobs import do_all, save_index_mask
from segdistill.preparation.matlab import read_label_map

_JSON = "trainval_merged.json"
_MASKS = "SegmentationClassContext"


class PascalContext(Preparation):
    """Masks of 60 values in OpenMMLab's order, and the lists of the splits."""

    source = (
        "VOCtrainval_03-May-2010.tar (1.3 GB, the images) from host.robots.ox.ac.uk/pascal/VOC/voc2010, and the "
        "labels: trainval_merged.json (PASCAL in Detail; its host changes, OpenMMLab's data set page has the link) or "
        "trainval.tar.gz with a .mat file an image from cs.stanford.edu/~roozbeh/pascal-context."
    )
    archives = (
        Archive("VOCtrainval_03-May-2010*.tar", below="VOCdevkit/VOC2010"),
        Archive("trainval.tar.gz", below="trainval", into="trainval"),
    )

    def convert(self, task: Task) -> dict[str, int]:
        """Make lists and masks, from the JSON if it is there, else from .mat files; see `Preparation.convert`."""
        folder = task.out or task.root / _MASKS
        source = _json_file(task)
        if source is not None and not _complete(task, folder):
            return _from_json(source, folder, task)
        mats = sorted((task.root / "trainval").glob("*.mat"))
        _write_lists(task.root, {})
        jobs = [(mat, made) for mat in mats if not (made := folder / f"{mat.stem}.png").is_file()]
        return {"masks": do_all("Masks from .mat files", jobs, _from_mat, quiet=task.quiet)}

    def settings(self, task: Task) -> dict[str, Any]:
        """The folder of the masks too, if it is not the usual one; see `Preparation.settings`."""
        return task.options if task.out is None else {**task.options, "masks": str(task.out.absolute())}


def raw_values() -> LabelValues:
    """What the 459 raw labels mean.

    Returns:
        The lookup table to the 60 values of the masks; a label that is no class counts as background.
    """
    table = context_table(60, "raw")
    named = {value: index for index, ids in enumerate(table.ids) for value in ids}
    return LabelValues({**dict.fromkeys(range(LAST_RAW + 1), 0), **named})


def _json_file(task: Task) -> Path | None:
    folders = [task.root, task.root.parent, *([task.archives] if task.archives else [])]
    return next((folder / _JSON for folder in folders if (folder / _JSON).is_file()), None)


def _complete(task: Task, folder: Path) -> bool:
    lists = [task.root / "ImageSets" / "SegmentationContext" / f"{split}.txt" for split in ("train", "val")]
    if not all(file.is_file() for file in lists):
        return False
    return all((folder / f"{name}.png").is_file() for file in lists for name in read_lines(file))


def _from_json(source: Path, folder: Path, task: Task) -> dict[str, int]:
    try:
        tree = json.loads(source.read_text(encoding="utf-8"))
        images: dict[int, dict[str, Any]] = {image["image_id"]: image for image in tree["images"]}
        regions: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for region in tree["annos_segmentation"]:
            regions[region["image_id"]].append(region)
        names = {key: Path(image["file_name"]).stem for key, image in images.items()}
        lists = {s: [names[key] for key, image in images.items() if image["phase"] == s] for s in ("train", "val")}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{source} is not the JSON of PASCAL in Detail: {type(error).__name__}: {error}.") from error
    values = raw_values()

    def make(key: int) -> None:
        made = folder / f"{names[key]}.png"
        if not made.is_file():
            save_index_mask(made, values(_painted(images[key], regions[key], source), made))

    wanted = [key for key, image in images.items() if image["phase"] in lists]
    _write_lists(task.root, lists)
    return {"masks": do_all("Masks from JSON", wanted, make, quiet=task.quiet)}


def _painted(image: dict[str, Any], regions: list[dict[str, Any]], source: Path) -> NDArray[np.uint16]:
    """Raw labels (H,W): the regions in their order, each over those before."""
    raw = np.zeros((image["height"], image["width"]), np.uint16)
    try:
        for region in regions:
            code = region["segmentation"]
            raw[decode(code["size"], code["counts"])] = region["category_id"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{source}: a region of {image.get('file_name')} can't be decoded: {error}.") from error
    return raw


def _from_mat(job: tuple[Path, Path]) -> None:
    mat, made = job
    label = raw_values()(read_label_map(mat, "LabelMap"), mat)
    if (label == IGNORE_INDEX).any():
        raise DataError(f"{mat} holds a value beyond {LAST_RAW}.")
    save_index_mask(made, label)


def _write_lists(root: Path, lists: dict[str, list[str]]) -> None:
    """The split lists that are not there yet: from the JSON, else VOC 2010's own train and val, which are the same."""
    for split in ("train", "val"):
        target = root / "ImageSets" / "SegmentationContext" / f"{split}.txt"
        main = root / "ImageSets" / "Main" / f"{split}.txt"
        names = lists.get(split) or (read_lines(main) if main.is_file() else [])
        if names and not target.is_file():
            write_text(target, "".join(f"{name}\n" for name in sorted(names)))
