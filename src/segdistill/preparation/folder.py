"""Your own folder: its masks as class indices."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from segdistill.core.discovery import check_options
from segdistill.data.datasets.folder import Folder as Dataset
from segdistill.data.reading import read_mask
from segdistill.preparation.base import Preparation, Task
from segdistill.preparation.jobs import do_all, save_index_mask


class Folder(Preparation):
    """With `out`, every mask is written there as a grey PNG of class indices, by its path below the root."""

    source = "Your own images and masks; docs/data.md says how they may lie."

    def convert(self, task: Task) -> dict[str, int]:
        """Write the masks of both splits below `out`, if it is set; see `Preparation.convert`."""
        out = task.out
        if out is None:
            return {}
        splits: tuple[Literal["train", "val"], ...] = ("train", "val")
        count = 0
        for split in splits:
            options = check_options(Dataset, {**task.options, "root": task.root, "split": split}, "data")
            dataset = Dataset(**options)

            def make(mask: Path, dataset: Dataset = dataset) -> None:
                relative = mask.relative_to(task.root) if mask.is_relative_to(task.root) else Path(mask.name)
                made = (out / relative).with_suffix(".png")
                raw = read_mask(mask, deep=dataset.values.deep, colors=dataset.values.colors)
                save_index_mask(made, dataset.values(raw, mask))

            masks = [mask for _, mask in dataset.pairs if mask is not None]
            count += do_all(f"Index masks, {split}", masks, make, quiet=task.quiet)
        return {"index masks": count}
