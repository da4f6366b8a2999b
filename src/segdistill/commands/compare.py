"""`compare`: from words to a study that is finished, or goes on where it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from segdistill.commands.common import require_student_role
from segdistill.core.errors import RecipeError
from segdistill.data import create_dataset
from segdistill.data.labelled import labeled_indices
from segdistill.models.checksum import identity_of
from segdistill.recipe.composition import key_values
from segdistill.recipe.keywords import RecipeKeys, Word, takes_recipe_keys
from segdistill.recipe.recipe import MethodSpec, Recipe, load_recipe
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
from segdistill.studies.methods import Methods, read_methods
from segdistill.studies.plan import Job, Plan, load_plan, plan_file, read_budget
from segdistill.studies.result import ALONE, LONGER, TEACHER, Failure, Outcome, Study
from segdistill.training.handed_in import handed_in
from segdistill.training.pairing import check_teacher

_STUDY_WORDS = ("budget", "executor", "processes")


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
    recipe_words, study_words = _split_words(words)
    executor = str(executor or study_words.get("executor") or "local")
    processes = processes if processes is not None else study_words.get("processes")
    execution.check_executor(executor, processes)
    budget = budget if budget is not None else study_words.get("budget")
    folder, plan = _plan(recipe_words, methods, seeds, budget, dict(keys))
    _require_steps(executor, plan)
    _require_one_process(executor, processes, plan)
    validation = create_dataset(plan.recipe.data, "val")
    if not plan_file(folder).is_file() and not plan.trains_teacher() and plan.recipe.teacher.check:
        check_teacher(plan.recipe, teacher_of(plan, folder), validation)
    _print(plan.recipe.warning, quiet)
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


def _require_steps(executor: str, plan: Plan) -> None:
    if executor == "slurm" and plan.budget.minutes is not None:
        raise RecipeError(
            "budget=minutes needs one machine that times every method before it runs; with executor=slurm set steps."
        )
    if executor == "slurm" and LONGER in plan.methods and LONGER not in plan.steps:
        raise RecipeError(
            "methods=longer needs one machine that times the runs first: leave it out with executor=slurm, and add it "
            "to the study afterwards by another executor."
        )


def _require_one_process(executor: str, processes: int | None, plan: Plan) -> None:
    methods = [method for entry in plan.methods.values() for method in entry]
    held = handed_in(plan.recipe.model_copy(update={"method": methods}))
    if held and (executor != "local" or (processes or 1) > 1):
        raise RecipeError(
            f"{', '.join(f'{key} ({what})' for key, what in held.items())} was handed in as an object, which other "
            "processes can't read. Leave executor and processes out, or name it by its import path."
        )


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


def _split_words(words: Sequence[Word]) -> tuple[list[Word], dict[str, Any]]:
    """The words without those that are the study's own, and these."""
    study_words = [word for word in words if isinstance(word, str) and word.partition("=")[0] in _STUDY_WORDS]
    study_words = [word for word in study_words if "=" in word]
    return [word for word in words if not any(word is each for each in study_words)], key_values(study_words)


def _plan(parts: Sequence[Word], methods: Any, seeds: Any, budget: Any, overrides: dict[str, Any]) -> tuple[Path, Plan]:
    """The study's folder and what it is made of: what the folder says, what the words say, or both joined."""
    first = Path(parts[0]) if parts and isinstance(parts[0], str | Path) else None
    if first is not None and plan_file(first).is_file():
        stored = load_plan(first)
        if len(parts) > 1 or overrides or budget is not None:
            raise RecipeError(
                f"{first} is a study; it goes on with the recipe and budget it holds. Add only methods= and seeds= "
                "to it, or name the whole recipe with another out=FOLDER."
            )
        read = read_methods(methods, stored.recipe.teacher)
        requested = stored.model_copy(update={"methods": read, "seeds": _seeds(seeds, stored.seeds)})
        folder = first
    else:
        recipe = load_recipe(*parts, **overrides)
        require_student_role(recipe, "compare")
        if recipe.teacher.weights is None and recipe.teacher.network is None:
            raise RecipeError("A study needs a teacher: a pair, such as mobile_pair, or teacher.weights=FOLDER.")
        if recipe.baseline not in ("train", "none"):
            raise RecipeError(
                f"baseline={recipe.baseline} has no meaning here: compare trains the student alone for every seed. "
                "Leave it out; distill takes one."
            )
        folder = recipe.out or Path("runs") / f"compare-{recipe.data.name}"
        read = _methods(methods, recipe)
        run_budget = read_budget(budget, recipe.steps)
        recipe = recipe.model_copy(update={"out": None, "method": [], "steps": run_budget.steps or recipe.steps})
        requested = Plan(recipe=recipe, methods=read, seeds=_seeds(seeds, (0, 1, 2)), budget=run_budget)
        stored = load_plan(folder) if plan_file(folder).is_file() else requested
    if LONGER in requested.methods and requested.budget.steps is None:
        raise RecipeError("A budget of minutes gives all runs equal minutes: leave `longer` out of the methods.")
    return folder, stored.joined(requested, folder)


def _methods(given: Methods, recipe: Recipe) -> dict[str, list[MethodSpec]]:
    """What is compared: the recipe's methods, together, and those that are named."""
    named, of_recipe = read_methods(given, recipe.teacher), recipe.method
    label = "+".join(method.name for method in of_recipe)
    if label in named and named[label] != list(of_recipe):
        raise RecipeError(
            f"The recipe's parts name {label} with other options than methods=, and two entries can't have one label. "
            f"Call the second one by another, as methods='plain={{name: {of_recipe[0].name}}}'."
        )
    methods = ({label: list(of_recipe)} if label else {}) | named
    if not methods:
        raise RecipeError("Nothing to compare: name methods=, such as default,kd,cwd,bpkd_light.")
    return methods


def _seeds(given: str | Sequence[int], default: tuple[int, ...]) -> tuple[int, ...]:
    words = given.split(",") if isinstance(given, str) else list(given)
    try:
        seeds = tuple(dict.fromkeys(int(word) for word in words if str(word).strip()))
    except ValueError as error:
        raise RecipeError(f"seeds is {given!r}; expected numbers with commas between, as 0,1,2.") from error
    if any(seed < 0 for seed in seeds):
        raise RecipeError(f"seeds is {given!r}; a seed is 0 or more.")
    return seeds or default


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
