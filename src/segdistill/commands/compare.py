"""`compare`: from words to a study that is finished, or goes on where it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from segdistill.commands.compare_plan import requested_plan, require_one_process, require_steps, split_words
from segdistill.core.errors import RecipeError
from segdistill.data import create_dataset
from segdistill.data.labelled import labeled_indices
from segdistill.models.checksum import identity_of
from segdistill.recipe.keywords import RecipeKeys, Word, takes_recipe_keys
from segdistill.reporting.study_files import save_study
from segdistill.reporting.study_table import cells
from segdistill.runs.folder import RunFolder
from segdistill.runs.trackers import Trackers
from segdistill.runtime.display import console
from segdistill.studies import executors as execution
from segdistill.studies.budget import measured_steps, steps_of_equal_minutes
from segdistill.studies.collection import collect
from segdistill.studies.jobs import do, find, finished, teacher_of
from segdistill.studies.measurement import outcome
from segdistill.studies.methods import Methods
from segdistill.studies.plan import Job, Plan, load_plan, plan_file
from segdistill.studies.result import ALONE, LONGER, TEACHER, Failure, Outcome, Study
from segdistill.training.pairing import check_teacher
from segdistill.training.teacher_length import shorter_than_student


@takes_recipe_keys
def compare(
    *words: Word,
    methods: Methods = (),
    seeds: str | Sequence[int] = (),
    budget: str | Mapping[str, Any] | None = None,
    executor: str | None = None,
    processes: int | None = None,
    quiet: bool = False,
    **keys: Unpack[RecipeKeys],
) -> Study:
    """Train the recipe's student alone and with every method, over seeds, at equal cost, and say what was worth it.

    One teacher serves all runs: `teacher.weights`, or the one that is trained in the study's folder. The folder, `out`
    of the recipe, gets study.json, table.md, table.csv. A study that was stopped goes on; more methods and seeds may
    join.

    Args:
        *words: Words of a recipe, or a whole one; or the folder of a study to go on with. Budget, executor and
            processes may stand among them as key=value.
        methods: As "kd,cwd,bpkd_light,kd+at"; a list of such names, of specs and of classes; or a mapping of labels to
            them; "default" among them is what distils where a recipe names no method, "longer" the student alone for as
            many minutes as the costliest method takes of those named by then. The recipe's own methods, if it has any,
            are compared too, together as one entry.
        seeds: As "0,1,2", which is the default.
        budget: "steps:2000" (default the recipe's steps) or "minutes:30" of training: how many steps each method makes
            in it is measured once, before it runs.
        executor: "local" (default), "ray" or "slurm".
        processes: How many runs go on at a time; default one a CUDA device.
        quiet: Show no progress.
        **keys: Recipe keys over the words; networks, data sets and methods may be objects.

    Returns:
        What is finished, failures and what is pending among it.

    Raises:
        SegdistillError: Something can't work, or the folder holds another study.
    """
    recipe_words, study_words = split_words(words)
    executor = str(executor or study_words.get("executor") or "local")
    processes = processes if processes is not None else study_words.get("processes")
    execution.check_executor(executor, processes)
    budget = budget if budget is not None else study_words.get("budget")
    folder, plan = requested_plan(recipe_words, methods, seeds, budget, dict(keys))
    require_steps(executor, plan)
    require_one_process(executor, processes, plan)
    validation = create_dataset(plan.recipe.data, "val")
    _print(plan.recipe.warning, quiet)
    if not plan_file(folder).is_file():
        given = None if plan.trains_teacher() else teacher_of(plan, folder)
        if given is not None and plan.recipe.teacher.check:
            check_teacher(plan.recipe, given, validation)
        note = "" if plan.budget.steps is None else shorter_than_student(plan.recipe, given)
        _print(note and f"teacher: {note}", quiet)
    if not labeled_indices(validation):
        raise RecipeError("No validation image has a mask, so there is nothing to compare runs by. Validate on some.")
    plan = _with_teacher(plan, folder)
    plan.save(folder)
    if executor == "slurm":
        return _write_slurm(plan, folder, quiet)
    return _run(plan, folder, executor, processes, quiet)


def _with_teacher(plan: Plan, folder: Path) -> Plan:
    """The plan with the checksum of its runs' teacher, if there is one yet; another one than before is refused."""
    if plan.trains_teacher() and not finished(folder, Job(TEACHER, plan.recipe.seed)):
        return plan
    checksum = str(identity_of(teacher_of(plan, folder).model)["checksum"])
    begun = any((folder / job.name).is_dir() for job in plan.jobs())
    if begun and plan.teacher_checksum not in ("", checksum):
        raise RecipeError(
            f"{plan.teacher(folder)} holds other weights than those that taught the runs in {folder}, which can't be "
            "compared with runs of this teacher. Choose another out=FOLDER."
        )
    return plan.model_copy(update={"teacher_checksum": checksum})


def compare_one(folder: str | Path, job: str, *, quiet: bool = False) -> Outcome | None:
    """Do one run of a study: what executors call on other machines.

    Args:
        folder: Of the study.
        job: Name of the run, as "kd-0" or "teacher".
        quiet: Show no progress.

    Returns:
        What it reached; None for the teacher.

    Raises:
        RecipeError: The study has no run of that name.
    """
    study = Path(folder)
    plan = load_plan(study)
    chosen = find(plan, job)
    if chosen.label == TEACHER:
        do(plan, study, chosen, quiet=quiet)
        return None
    measured = plan.budget.minutes is not None or chosen.label == LONGER
    if measured and chosen.label not in plan.steps:
        plan = _with_steps(plan, study, quiet)
    do(plan, study, chosen, quiet=quiet)
    return outcome(chosen.label, study / chosen.name, study)


def _run(plan: Plan, folder: Path, executor: str, processes: int | None, quiet: bool) -> Study:
    teacher = Job(TEACHER, plan.recipe.seed)
    if plan.trains_teacher() and not finished(folder, teacher):
        _print("teacher: one for all runs", quiet)
        do(plan, folder, teacher, quiet=quiet)
        plan = _with_teacher(plan, folder)
        plan.save(folder)
    plan = _with_steps(plan, folder, quiet)
    failed: dict[Job, str] = {}
    jobs = _unfinished(plan, folder)
    for again in (False, True):
        for done, error in execution.run_all(plan, folder, jobs, executor, processes, quiet=quiet):
            failed.pop(done, None)
            if error is None:
                reached = outcome(done.label, folder / done.name, folder)
                left = len(_unfinished(plan, folder))
                _print(f"{done}: mIoU {reached.miou:.2f}; {left} {'run' if left == 1 else 'runs'} left", quiet)
                _collected(plan, folder, failed, quiet)
            else:
                failed[done] = error
                _print(f"{done} failed{'' if again else ', and is tried again at the end'}: {error}", quiet)
        jobs = [*failed]
    study = _collected(plan, folder, failed, quiet)
    if study.outcomes:
        with Trackers(plan.recipe.log, RunFolder(folder), plan.recipe.steps) as trackers:
            trackers.log_table(*cells(study), folder / "table.md")
    return study


def _write_slurm(plan: Plan, folder: Path, quiet: bool) -> Study:
    """Write the script that does what is left; what is finished by now."""
    left = _unfinished(plan, folder)
    if left:
        needs_teacher = plan.trains_teacher() and not finished(folder, Job(TEACHER, plan.recipe.seed))
        script = execution.write_slurm(folder, left, needs_teacher=needs_teacher)
        _print(f"{script}: how to submit it stands in it.", quiet)
    return _collected(plan, folder, {}, quiet)


def _unfinished(plan: Plan, folder: Path) -> list[Job]:
    return [job for job in plan.jobs() if not finished(folder, job)]


def _collected(plan: Plan, folder: Path, failed: Mapping[Job, str], quiet: bool) -> Study:
    """What is finished by now; the folder's files say it from the first finished run on."""
    failures = [Failure(job.label, job.seed, why) for job, why in failed.items()]
    study = collect(plan, folder, failures, quiet=quiet)
    if study.outcomes:
        save_study(study, folder)
    return study


def _print(text: str, quiet: bool) -> None:
    if text and not quiet:
        console.print(text, soft_wrap=True, markup=False)


def _with_steps(plan: Plan, folder: Path, quiet: bool) -> Plan:
    """The plan; where the budget is minutes, with the steps that every label makes in them, measured once."""
    missing = [label for label in (ALONE, *plan.methods) if label not in plan.steps]

    def log(text: str) -> None:
        _print(text, quiet)

    if plan.budget.minutes is not None and missing:
        steps = dict(measured_steps(plan, folder, missing, log))
    elif LONGER in missing:
        steps = {LONGER: steps_of_equal_minutes(plan, folder, log)}
    else:
        return plan
    plan = plan.model_copy(update={"steps": {**plan.steps, **steps}})
    plan.save(folder)
    return plan
