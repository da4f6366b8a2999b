"""Cityscapes: train-id masks from polygons or label ids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.errors import DataError
from segdistill.data.base import label_file
from segdistill.data.reading import read_mask
from segdistill.data.tables import label_table
from segdistill.preparation.archives import Archive
from segdistill.preparation.base import Preparation, Task
from segdistill.preparation.jobs import do_all, save_index_mask

_POLYGONS, _LABEL_IDS, _TRAIN_IDS = "_polygons.json", "_labelIds.png", "_labelTrainIds.png"


class Cityscapes(Preparation):
    """Polygons are drawn where there are no masks; label ids, which are read as they are, only if `out` is given."""

    source = (
        "Register at cityscapes-dataset.com (for research that is not commercial) and download "
        "leftImg8bit_trainvaltest.zip (~11 GB) and gtFine_trainvaltest.zip (~0.2 GB); for the coarse labels also "
        "leftImg8bit_trainextra.zip (~44 GB) and gtCoarse.zip (~1.3 GB)."
    )
    archives = (Archive("leftImg8bit_*.zip"), Archive("gtFine*.zip"), Archive("gtCoarse*.zip"))

    def convert(self, task: Task) -> dict[str, int]:
        """Make `*_labelTrainIds.png` beside the masks or below `out`, see `Preparation.convert`."""
        target = task.out or task.root
        jobs = []
        for truth in ("gtFine", "gtCoarse"):
            for path in sorted((task.root / truth).glob(f"*/*/*{_POLYGONS}")):
                stem = path.name.removesuffix(_POLYGONS)
                made = target / path.relative_to(task.root).with_name(stem + _TRAIN_IDS)
                ids = path.with_name(stem + _LABEL_IDS)
                if made.is_file() or (task.out is None and ids.is_file()):
                    continue
                jobs.append((ids if ids.is_file() else path, made))
            if task.out is not None:  # label ids without polygons
                sources = {source for source, _ in jobs}
                for ids in sorted((task.root / truth).glob(f"*/*/*{_LABEL_IDS}")):
                    name = ids.name.removesuffix(_LABEL_IDS) + _TRAIN_IDS
                    made = target / ids.relative_to(task.root).with_name(name)
                    if ids not in sources and not made.is_file():
                        jobs.append((ids, made))
        return {"train-id masks": do_all("Train-id masks", jobs, _make, quiet=task.quiet)}


def draw_polygons(path: Path) -> NDArray[np.uint8]:
    """Class indices (H,W) of a polygons file: its objects in their order, each over those before, void below all.

    "cargroup" is a car; deleted objects and licence plates are not drawn, as in cityscapesScripts.

    Args:
        path: of the file, `*_polygons.json`.

    Returns:
        Class indices or void (H,W), uint8.

    Raises:
        DataError: the file can't be read, or holds an unknown label.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        canvas = Image.new("L", (tree["imgWidth"], tree["imgHeight"]), IGNORE_INDEX)
        draw = ImageDraw.Draw(canvas)
        for thing in tree["objects"]:
            value = None if thing.get("deleted") else _index(thing["label"], path)
            corners = [(float(x), float(y)) for x, y in thing["polygon"]]
            if value is not None and len(corners) > 1:
                draw.polygon(corners, fill=value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"Can't read polygons {path}: {type(error).__name__}: {error}. Replace the file.") from error
    return np.array(canvas)


def _index(label: str, path: Path) -> int | None:
    names = label_table("cityscapes").classes.names
    void = set(label_file("cityscapes")["void"].values()) - {"license plate"}
    for name in (label, label.removesuffix("group")):
        if name in names:
            return names.index(name)
        if name in void:
            return IGNORE_INDEX
        if name == "license plate":
            return None
    raise DataError(f"{path} holds an object '{label}', no label of Cityscapes.")


def _make(job: tuple[Path, Path]) -> None:
    source, made = job
    if source.name.endswith(_POLYGONS):
        label = draw_polygons(source)
    else:
        label = label_table("cityscapes").values()(read_mask(source), source)
    save_index_mask(made, label)
