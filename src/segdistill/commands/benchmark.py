"""`benchmark`: every format of a run in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segdistill.commands.common import student_alone
from segdistill.core.errors import CheckpointError, RecipeError
from segdistill.data import create_dataset
from segdistill.exporting.benchmark import BenchmarkSettings, benchmark_run
from segdistill.exporting.benchmark_result import Benchmark
from segdistill.exporting.settings import check_settings
from segdistill.models.files import OwnRun
from segdistill.models.identify import identify
from segdistill.models.loaded import LoadedModel
from segdistill.recipe.recipe import Recipe, load_recipe
from segdistill.runs.folder import RunFolder
from segdistill.training.pairing import run_teacher


def benchmark(run: str | Path, *parts: str | Path, quiet: bool = False, **settings: Any) -> Benchmark:
    """Export a run to every format that runs here, and measure scores, size and time of each.

    Teacher and student alone are in the table if the run has them. The files and the table (benchmark.json,
    benchmark.md) go to the folder `benchmark` of the run.

    Args:
        run: The run folder.
        *parts: Settings as "key=value", and recipe parts over the run's own, as "data.root=...".
        quiet: Show no progress.
        **settings: Fields of `BenchmarkSettings`: formats, int8, size, threads, runs, images, seed, calibration, out.

    Returns:
        The table.

    Raises:
        RecipeError: A setting is wrong, or a package is not installed.
        CheckpointError: The run is not finished, or is not one.
        SegdistillError: No file can be written, or the data can't be read.
    """
    checked, words = check_settings(BenchmarkSettings, parts, settings)
    source = identify(run)
    folder = RunFolder(Path(run) if Path(run).is_dir() else Path(run).parent)
    if not isinstance(source, OwnRun) or not folder.recipe.is_file():
        raise RecipeError(f"{run} is not a run folder: there is no {folder.recipe.name} in it. Name one, as runs/mine.")
    model = source.load()
    recipe = load_recipe(folder.recipe, *words)
    data = create_dataset(recipe.data, "val")
    others = other_models(recipe, folder.path, model)
    name = "distilled" if recipe.method else model.path.stem
    out = checked.out or folder.path / "benchmark"
    return benchmark_run(model, others, checked, recipe, out, data, name=name, quiet=quiet)


def other_models(recipe: Recipe, run: Path, model: LoadedModel) -> dict[str, LoadedModel]:
    """Teacher and student alone of a distillation, as far as they can be opened: they may have moved.

    A teacher of other classes than the run's is left out.

    Args:
        recipe: Says where both are, if not in the run folder.
        run: The run folder.
        model: The distilled student.

    Returns:
        The networks, as "teacher" and "student alone"; empty for a run without a method.

    """
    others: dict[str, LoadedModel] = {}
    if not recipe.method:
        return others
    try:
        teacher = run_teacher(recipe, run, model.classes)
    except CheckpointError:  # it has moved
        teacher = None
    if teacher is not None and not teacher.incompatibility:
        others["teacher"] = teacher.model
    alone = student_alone(recipe, run)
    if alone is not None:
        others["student alone"] = alone
    return others
