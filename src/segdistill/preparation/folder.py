"""Your own folder: its masks as class indices."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from segdistill.core.classes import distinct_colors
from segdistill.core.output_names import output_names, refuse_overwriting
from segdistill.core.storage import write_text
from segdistill.data.datasets.folder import Folder as Dataset
from segdistill.data.own_folder.templates import base_of
from segdistill.preparation.base import Preparation, Task
from segdistill.preparation.jobs import do_all, save_index_mask

_MEANING = ("values", "void", "unlisted", "merge", "mask_colors", "classes", "colors", "masks", "format", "unlabeled")
"""Options that the written masks need no more, or other ones of."""


class Folder(Preparation):
    """With `out`, every mask is written there as a grey PNG of class indices, by its path below the root."""

    source = "Your own images and masks; docs/data.md says how they may lie."

    def convert(self, task: Task) -> dict[str, int]:
        """Write the masks of both splits below `out`, if it is set; see `Preparation.convert`."""
        out = task.out
        if out is None:
            return {}
        datasets = task.splits(Dataset)
        made = _made(task, out, datasets)
        refuse_overwriting(made.values(), [*made])
        count = 0
        for split, dataset in datasets.items():

            def make(index: int, dataset: Dataset = dataset) -> None:
                mask = dataset.pairs[index][1]
                assert mask is not None
                save_index_mask(made[_key(dataset, index)], dataset.values(dataset.load_mask(index)[0], mask))

            masks = [index for index in range(len(dataset)) if dataset.is_labeled(index)]
            count += do_all(f"Index masks, {split}", masks, make, quiet=task.quiet)
            if dataset.templates is None:
                files = [(dataset.pairs[index][0], made[_key(dataset, index)]) for index in masks]
                pairs = [f"{image.absolute()}\t{mask.absolute()}\n" for image, mask in files]
                write_text(out / f"{split}.txt", "".join(pairs))
        return {"index masks": count}

    def settings(self, task: Task) -> dict[str, Any]:
        out = task.out
        if out is None:
            return task.options
        kept = {key: value for key, value in task.options.items() if key not in _MEANING}
        lists = dict(task.options.get("lists") or {})
        datasets = task.splits(Dataset)
        classes = next(iter(datasets.values())).classes
        kept["classes"] = list(classes.names)
        if classes.colors != distinct_colors(len(classes)):
            kept["colors"] = dict(zip(classes.names, map(list, classes.colors), strict=True))
        for split, dataset in datasets.items():
            if dataset.templates is None:
                kept = {key: value for key, value in kept.items() if not key.startswith("val_")}
                kept["lists"] = lists = {**lists, split: str((out / f"{split}.txt").absolute())}
            else:
                kept["masks"] = _template(task, out, dataset.templates[1])
        return kept


def _key(dataset: Dataset, index: int) -> Path:
    """The file whose name a written mask gets: the mask's, or that of the image if annotations make the mask."""
    image, mask = dataset.pairs[index]
    return image if dataset.annotated or mask is None else mask


def _made(task: Task, out: Path, datasets: dict[str, Dataset]) -> dict[Path, Path]:
    """Mask -> the file that is made of it."""
    below: dict[Path, PurePosixPath] = {}
    for dataset in datasets.values():
        for index in filter(dataset.is_labeled, range(len(dataset))):
            mask, base = _key(dataset, index), task.root
            if not mask.is_relative_to(base):
                base = dataset.searched[1] if dataset.searched and dataset.templates else mask.parent
            below[mask] = PurePosixPath(mask.relative_to(base).as_posix())
    return {mask: out / f"{name}.png" for mask, name in output_names(below).items()}


def _template(task: Task, out: Path, template: str) -> str:
    """The template of the written masks, which keep their path below the root, or else below their folder."""
    base, rest = base_of(task.root, template, "train")
    if base.is_relative_to(task.root):
        rest = template.removeprefix(f"{task.root}/")
    stem = rest[: -len(Path(rest).suffix)] if Path(rest).suffix and not rest.endswith("{name}") else rest
    return f"{out.absolute()}/{stem}.png"
