"""A data set of the Hugging Face hub: its rows as files."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from segdistill.core.colors import as_picture
from segdistill.core.errors import DataError
from segdistill.core.storage import stamp, write_aside, write_text
from segdistill.data.colors import save_picture
from segdistill.data.datasets.parquet import Parquet as Dataset
from segdistill.data.reading import decode_image
from segdistill.preparation.base import Preparation, Task
from segdistill.preparation.jobs import do_all, save_index_mask

_RECORD = "prepared.json"
"""The file below `out` that says what its images and masks were made of."""


class Parquet(Preparation):
    """With `out`, a folder of images and grey PNGs of class indices is made, which `folder` reads."""

    source = "A download of the hub: hf download USER/NAME --repo-type dataset --local-dir ROOT."

    def convert(self, task: Task) -> dict[str, int]:
        """Write `images/`, `masks/` and `classes.txt` below `out`, if it is set; see `Preparation.convert`."""
        out = task.out
        if out is None:
            return {}
        datasets = task.splits(Dataset)
        _claim(out, task, {path for dataset in datasets.values() for path in dataset.files})
        write_text(out / "classes.txt", "".join(f"{name}\n" for name in datasets["train"].classes.names))
        count = 0
        for split, dataset in datasets.items():

            def write(index: int, dataset: Dataset = dataset, split: str = split) -> None:
                name = f"{split}/{dataset.name(index)}"
                mask = out / "masks" / f"{name}.png"
                if not mask.is_file():  # the mask is written last: the image is there, too
                    _save_image(dataset, index, out / "images" / name)
                    save_index_mask(mask, dataset[index].label.numpy())

            count += do_all(f"Files, {split}", range(len(dataset)), write, quiet=task.quiet)
        return {"images and index masks": count}

    def settings(self, task: Task) -> dict[str, Any]:
        """What reads the folder that was made; see `Preparation.settings`."""
        if task.out is None:
            return task.options
        return {"images": "images/{split}/{name}", "masks": "masks/{split}/{name}.png", "classes": "classes.txt"}

    def made(self, task: Task) -> tuple[str, Path] | None:
        """A folder, if `out` is set; see `Preparation.made`."""
        return None if task.out is None else ("folder", task.out)


def _claim(out: Path, task: Task, files: Collection[Path]) -> None:
    """Keep what the files of a folder are made of: those that are there already are of the same rows and options."""
    stamps = [stamp(path) for path in sorted(files)]
    record, made_of = out / _RECORD, {"root": str(task.root.absolute()), **task.options, "files": stamps}
    text = json.dumps(made_of, indent=1, default=str, ensure_ascii=False) + "\n"
    if record.is_file() and record.read_text(encoding="utf-8") != text:
        raise DataError(
            f"{out} holds files made with another root, other options or other parquet files ({record} has them), "
            "which would be mixed with these. Choose another folder with out, or delete it."
        )
    write_text(record, text)


def _save_image(dataset: Dataset, index: int, path: Path) -> None:
    """Write a row's image as it is, with the suffix of its format; one with an EXIF tag that turns it as a PNG."""
    content, _, where = dataset.contents(index)
    turned, header = decode_image(content, where, dataset.exif)
    suffix = {"JPEG": "jpg", "PNG": "png"}.get(header.format)
    if header.orientation != 1 or suffix is None:
        save_picture(path.with_name(f"{path.name}.png"), as_picture(turned))
    else:
        write_aside(path.with_name(f"{path.name}.{suffix}"), lambda aside: aside.write_bytes(content))
