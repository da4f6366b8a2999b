"""`compare`: from words to a study that is finished, or goes on where it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segdistill.core.errors import RecipeError
from segdistill.data import create_dataset
from segdistill.recipe.composition import key_values
from segdistill.recipe.recipe import load_recipe
from segdistill.runtime.display import console
from segdistill.studies import executors as execution
from segdistill.studies.budget import measured_steps
from segdistill.studies.collection import collect
from segdistill.studies.jobs import do, find, finished, teacher_of
from segdistill.studies.measurement import outcome
from segdistill.studies.plan import TEACHER, Job, Plan, load_plan, plan_file, read_budget, read_methods
from segdistill.studies.result import ALONE, Failure, Outcome, Study
from segdistill.training.pairing import check_teacher

_OWN_WORDS = ("budget", "executor", "processes")


def compare(
    *parts: str | Path,
    methods: str | Sequence[str] | Mapping[str, Any] = (),
    seeds: str | Sequence[int] = (),
    budget: str | Mapping[str, Any] | None = None,
    executor: str | None = None,
    processes: int | None = None,
    quiet: bool = False,
    **overrides: Any,
) -> Study:
    """Train the recipe's student alone and with every method, over seeds, at equal cost, and say what was worth it.

    One teacher serves all runs: `teacher.run`, or the one that is trained in the study's folder. The folder, `run` of
    the recipe, gets study.json, table.md, table.csv; a study that was stopped goes on, finished runs are not repeated,
    and a run that failed is tried again. More methods and seeds may join later.

    Args:
        parts: Recipe parts, or the folder of a study to go on with; budget, executor and processes may stand among
            them as key=value.
        methods: As "kd,cwd,bpkd_light,kd+at", or a mapping of labels to recipe entries.
        seeds: As "0,1,2", the default.
        budget: "steps:2000" (default the recipe's steps) or "minutes:30" of training: how many steps each method makes
            in it is measured once, before it runs.
        executor: "local" (default), "ray" or "slurm".
        processes: How many runs go on at a time, default one a CUDA device.
        quiet: Show no progress.
        overrides: Recipe keys over the parts.

    Raises:
        RecipeError: If the study can't be made; nothing is trained then.
        TrainingError: If the folder holds another study.
    """
    words, own = _own_words(parts)
    executor = str(executor or own.get("executor") or "local")
    processes = processes if processes is not None else own.get("processes")
    execution.check_executor(executor, processes)
    folder, plan = _plan(words, methods, seeds, budget if budget is not None else own.get("budget"), overrides)
    if executor == "slurm" and plan.budget.minutes is not None:
        raise RecipeError(
            "budget=minutes needs one machine that times every method before it runs; with executor=slurm set steps."
        )
    if not plan_file(folder).is_file() and not plan.trains_teacher() and plan.recipe.teacher.check:
        check_teacher(plan.recipe, teacher_of(plan, folder), create_dataset(plan.recipe.data, "val"))
    if plan.recipe.warning:
        _say(plan.recipe.warning, quiet)
    plan.save(folder)
    if executor == "slurm":
        _write_slurm(plan, folder, quiet)
        return collect(plan, folder, quiet=quiet)
    return _run(plan, folder, executor, processes, quiet)


def compare_one(folder: str | Path, job: str, *, quiet: bool = False) -> Outcome | None:
    """Do the one run `job`, as "kd-0" or "teacher", of the study in `folder`: what executors call on other machines."""
    study = Path(folder)
    plan = load_plan(study)
    chosen = find(plan, job)
    if chosen.label == TEACHER:
        do(plan, study, chosen, quiet=quiet)
        return None
    do(_with_steps(plan, study, quiet), study, chosen, quiet=quiet)
    return outcome(chosen.label, study / chosen.name, study)


def _own_words(parts: Sequence[str | Path]) -> tuple[list[str | Path], dict[str, Any]]:
    """The parts without the words that are the study's own, and these."""
    mine = [part for part in parts if str(part).partition("=")[0] in _OWN_WORDS and "=" in str(part)]
    return [part for part in parts if part not in mine], key_values(map(str, mine))


def _plan(
    parts: Sequence[str | Path], methods: Any, seeds: Any, budget: Any, overrides: dict[str, Any]
) -> tuple[Path, Plan]:
    """The study's folder and what it is made of: what the folder says, what the words say, or both joined."""
    first = Path(parts[0]) if parts else None
    if first is not None and plan_file(first).is_file():
        held = load_plan(first)
        if len(parts) > 1 or overrides or budget is not None:
            raise RecipeError(
                f"{first} is a study; it goes on with the recipe and budget it holds. Add only --methods and --seeds "
                "to it, or name the whole recipe with another run=FOLDER."
            )
        asked = held.model_copy(update={"methods": read_methods(methods), "seeds": _seeds(seeds, held.seeds)})
        folder = first
    else:
        recipe = load_recipe(*parts, **overrides)
        if recipe.method:
            raise RecipeError("Name the methods of a study with --methods, not among the recipe's parts.")
        if recipe.teacher.run is None and recipe.teacher.network is None:
            raise RecipeError("A study needs a teacher: a pair, such as mobile_pair, or teacher.run=FOLDER.")
        if not isinstance(recipe.teacher.run, str | None):
            raise RecipeError("In a study teacher.run is a folder, a file or a name such as hf:FOLDER.")
        folder = recipe.run or Path("runs") / f"compare-{recipe.data.name}"
        read = read_methods(methods)
        if not read:
            raise RecipeError("Nothing to compare: name --methods, such as kd,cwd,bpkd_light,canonical.")
        allowed = read_budget(budget, recipe.steps)
        recipe = recipe.model_copy(update={"run": None, "steps": allowed.steps or recipe.steps})
        asked = Plan(recipe=recipe, methods=read, seeds=_seeds(seeds, (0, 1, 2)), budget=allowed)
        held = load_plan(folder) if plan_file(folder).is_file() else asked
    return folder, held.joined(asked, folder)


def _seeds(given: str | Sequence[int], default: tuple[int, ...]) -> tuple[int, ...]:
    words = given.split(",") if isinstance(given, str) else list(given)
    try:
        seeds = tuple(dict.fromkeys(int(word) for word in words if str(word).strip()))
    except ValueError as error:
        raise RecipeError(f"--seeds is {given!r}; expected numbers with commas between, as 0,1,2.") from error
    return seeds or default


def _run(plan: Plan, folder: Path, executor: str, processes: int | None, quiet: bool) -> Study:
    teacher = Job(TEACHER, plan.recipe.seed)
    if plan.trains_teacher() and not finished(folder, teacher):
        _say("teacher: one for all runs", quiet)
        do(plan, folder, teacher, quiet=quiet)
    plan = _with_steps(plan, folder, quiet)
    failed: dict[Job, str] = {}
    jobs = _unfinished(plan, folder)
    for again in (False, True):
        for done, error in execution.run_all(plan, folder, jobs, executor, processes, quiet=quiet):
            failed.pop(done, None)
            if error is None:
                reached = outcome(done.label, folder / done.name, folder)
                _say(f"{done}: mIoU {reached.miou:.2f}; {len(_unfinished(plan, folder))} runs left", quiet)
                collect(plan, folder, _failures(failed), quiet=quiet)
            else:
                failed[done] = error
                _say(f"{done} failed{'' if again else ', and is tried again at the end'}: {error}", quiet)
        jobs = [*failed]
    return collect(plan, folder, _failures(failed), quiet=quiet)


def _write_slurm(plan: Plan, folder: Path, quiet: bool) -> None:
    left = _unfinished(plan, folder)
    if left:
        needs_teacher = plan.trains_teacher() and not finished(folder, Job(TEACHER, plan.recipe.seed))
        script = execution.write_slurm(folder, left, needs_teacher=needs_teacher)
        _say(f"{script}: how to submit it stands in it.", quiet)


def _unfinished(plan: Plan, folder: Path) -> list[Job]:
    return [job for job in plan.jobs() if not finished(folder, job)]


def _failures(failed: Mapping[Job, str]) -> list[Failure]:
    return [Failure(job.label, job.seed, why) for job, why in failed.items()]


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        console.print(text, soft_wrap=True, markup=False)


def _with_steps(plan: Plan, folder: Path, quiet: bool) -> Plan:
    """The plan; where the budget is minutes, with the steps that every label makes in them, measured once."""
    missing = [label for label in (ALONE, *plan.methods) if label not in plan.steps]
    if plan.budget.minutes is None or not missing:
        return plan
    steps = dict(measured_steps(plan, folder, missing, lambda text: _say(text, quiet)))
    plan = plan.model_copy(update={"steps": {**plan.steps, **steps}})
    plan.save(folder)
    return plan
