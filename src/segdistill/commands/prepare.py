"""Unpacking, converting and checking a data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from segdistill.core.discovery import options_of, pick, validated
from segdistill.core.errors import DataError, RecipeError
from segdistill.core.paths import expanded
from segdistill.core.results import Result
from segdistill.data import DATASETS, DatasetConfig, SegmentationDataset, create_dataset
from segdistill.data.spread import chosen
from segdistill.preparation.archives import Unpacked, unpack
from segdistill.preparation.base import Preparation, Task
from segdistill.runtime.interruption import Interrupted

_READ = 20  # images of each split that are read to the last pixel


@dataclass(frozen=True)
class SplitState:
    """What there is of a split.

    Attributes:
        images: found with all they need.
        expected: that the official data set has, if known.
        problem: what is missing or wrong; "" if nothing is.
    """

    images: int
    expected: int | None
    problem: str


@dataclass(frozen=True, repr=False)
class Prepared(Result):
    """What `prepare` did and found.

    Attributes:
        dataset: the name of the data set that a recipe needs: `folder` where another one was converted to it.
        root: its folder.
        unpacked: what each archive gave, by its name.
        converted: what was made -> how many files.
        splits: what there is of each.
        settings: keys below `data` that a recipe needs.
        source: where the data set is to be had.
    """

    dataset: str
    root: Path
    unpacked: dict[str, Unpacked]
    converted: dict[str, int]
    splits: dict[str, SplitState]
    settings: dict[str, Any]
    source: str

    @property
    def ready(self) -> bool:
        """Whether training and validation find all they need."""
        return not any(split.problem for split in self.splits.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "root": str(self.root), "ready": self.ready}


def prepare(
    dataset: str,
    *,
    root: str | Path,
    archives: str | Path | None = None,
    out: str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> Prepared:
    """Unpack published archives, convert masks, check the counts.

    What is there already is not made again: an interrupted call goes on where it stopped.

    Args:
        dataset: a name of `segdistill list datasets`.
        root: the folder of the data set.
        archives: the folder of the archives, which are unpacked into the root; None if they are already.
        out: where converted masks go, if not into the root.
        quiet: show no progress.
        **options: those of the data set, as in a recipe's `data`.

    Returns:
        What was done, and what is missing.

    Raises:
        DataError: an archive or mask is broken or not safe; what is only missing is in the result.
        RecipeError: there is no such data set, or it has no such option.
        Interrupted: by Ctrl-C.
    """
    pick(DATASETS, SegmentationDataset, dataset, "data set")
    preparation = pick("segdistill.preparation", Preparation, dataset, "data set to prepare")()
    base, folder = expanded(Path(root)), None if archives is None else expanded(Path(archives))
    task = Task(base, folder, None if out is None else expanded(Path(out)), options, quiet)
    if "name" in options:
        raise RecipeError(f"Key 'name': the data set is '{dataset}', found {options['name']!r}. Leave name out.")
    validated(DatasetConfig, {"name": dataset, "root": base, **options}, "data")
    try:
        unpacked = {} if folder is None else _unpack_all(preparation, folder, task)
        if not base.is_dir():
            raise DataError(f"No folder {base}. {preparation.source}")
        converted = preparation.convert(task)
    except KeyboardInterrupt:
        text = "Stopped. Every file made so far is complete; the same command goes on from here."
        raise Interrupted(text, 130) from None
    settings = preparation.settings(task)
    dataset, base = preparation.made(task) or (dataset, base)
    config = DatasetConfig(name=dataset, root=base, **settings)
    splits: tuple[Literal["train", "val"], ...] = ("train", "val")
    states: dict[str, SplitState] = {split: _state(config, split) for split in splits}
    return Prepared(dataset, base, unpacked, converted, states, settings, preparation.source)


def _unpack_all(preparation: Preparation, folder: Path, task: Task) -> dict[str, Unpacked]:
    if not folder.is_dir():
        raise DataError(f"No folder {folder} (archives). {preparation.source}")
    archives = [
        (path, rule)
        for path in sorted(folder.iterdir())
        for rule in preparation.archives
        if path.is_file() and fnmatch(path.name, rule.pattern)
    ]
    return {path.name: unpack(path, rule, task.root, quiet=task.quiet) for path, rule in archives}


def _state(config: DatasetConfig, split: Literal["train", "val"]) -> SplitState:
    cls = pick(DATASETS, SegmentationDataset, config.name, "data set")
    expected = getattr(cls, "counts", {}).get(split)
    try:
        data = create_dataset(config, split)
    except DataError as error:
        return SplitState(_partial_count(config, split), expected, str(error))
    try:
        for index in chosen(len(data), _READ):
            data[index]
    except DataError as error:
        return SplitState(len(data), expected, str(error))
    return SplitState(len(data), expected, "")


def _partial_count(config: DatasetConfig, split: Literal["train", "val"]) -> int:
    """How many images there are with all they need; 0 where that can't be told."""
    cls = pick(DATASETS, SegmentationDataset, config.name, "data set")
    if "partial" not in options_of(cls).model_fields:
        return 0
    try:
        return len(create_dataset(DatasetConfig(**{**config.model_dump(), "partial": True}), split))
    except DataError:
        return 0
