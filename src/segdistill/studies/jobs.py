"""One run of a study, from wherever it stopped to its scores."""

from __future__ import annotations

from pathlib import Path

from segdistill.core.errors import RecipeError
from segdistill.data import create_dataset
from segdistill.data.fingerprint import fingerprint
from segdistill.runs.checkpoint import NoStateError
from segdistill.runs.folder import RunFolder
from segdistill.studies.measurement import measure, scores_file
from segdistill.studies.plan import Job, Plan
from segdistill.studies.result import TEACHER
from segdistill.training.pairing import Pairing, open_pairing
from segdistill.training.plan import resolve


def finished(folder: Path, job: Job) -> bool:
    """Whether a run is trained and measured; the teacher's is not measured here.

    Args:
        folder: Of the study.
        job: The run.

    Returns:
        False also for files that are cut short.
    """
    run = folder / job.name
    if job.label == TEACHER:
        return RunFolder(run).finished("teacher")
    return RunFolder(run).finished("student") and scores_file(run).is_file()


def do(plan: Plan, folder: Path, job: Job, *, quiet: bool = False) -> None:
    """Make the run, go on with it, or find it finished; then measure it.

    Args:
        plan: Of the study.
        folder: Of the study.
        job: The run; one without a state that verifies is put aside and made again.
        quiet: Show no progress.

    Raises:
        SegdistillError: The run can't be finished.
    """
    try:
        _do(plan, folder, job, quiet)
    except NoStateError:
        if not _put_aside(folder / job.name):
            raise
        _do(plan, folder, job, quiet)


def _do(plan: Plan, folder: Path, job: Job, quiet: bool) -> None:
    recipe = plan.recipe_of(job, folder)
    resolve(recipe, distills=bool(recipe.method)).run(resume=True, quiet=quiet)
    if job.label != TEACHER:
        run = folder / job.name
        data = create_dataset(recipe.data, "val")
        measure(scores_file(run), run, recipe, data, fingerprint(data), quiet=quiet)


def _put_aside(run: Path) -> bool:
    """Rename a run whose state is broken, so that it starts anew; whether there was one."""
    if not RunFolder(run).states():
        return False
    number = 1
    while (aside := run.with_name(f"{run.name}.broken{number}")).exists():
        number += 1
    run.rename(aside)
    return True


def teacher_of(plan: Plan, folder: Path) -> Pairing:
    """The one teacher of all runs, as it teaches.

    Args:
        plan: Of the study.
        folder: Of the study, in which it may have been trained.

    Returns:
        The teacher with its classes mapped to the data set's.

    Raises:
        CheckpointError: It can't be loaded.
        RecipeError: `teacher.class_map` does not fit.
    """
    classes = create_dataset(plan.recipe.data, "val").classes
    return open_pairing(plan.teacher(folder), plan.recipe.teacher, classes)


def find(plan: Plan, name: str) -> Job:
    """The job of that name.

    Args:
        plan: Of the study.
        name: As "kd-0" or "teacher".

    Returns:
        The job.

    Raises:
        RecipeError: There is none.
    """
    jobs = {job.name: job for job in (Job(TEACHER, plan.recipe.seed), *plan.jobs())}
    if name not in jobs:
        raise RecipeError(f"The study has no run '{name}'. Its runs: {', '.join(jobs)}.")
    return jobs[name]
