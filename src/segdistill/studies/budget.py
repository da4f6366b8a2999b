"""How many steps a method makes in the minutes that every method gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from segdistill.data.stream import Stream
from segdistill.studies.plan import Job, Plan
from segdistill.studies.result import ALONE, LONGER
from segdistill.training.dry_run import dry_run
from segdistill.training.plan import resolve

_STEPS = 8


def measured_steps(
    plan: Plan, folder: Path, labels: Sequence[str], log: Callable[[str], object]
) -> Iterator[tuple[str, int]]:
    """For each label how many steps fit the budget's minutes on this machine, by a few full steps made and thrown away.

    All runs are trained to these numbers, whatever else slows the machine later, so that a study can go on.

    Args:
        plan: Of the study; its budget is minutes.
        folder: Of the study, in which its teacher is.
        labels: Of the methods, or of the student alone.
        log: Takes messages for people.

    Yields:
        Each label with its number of steps.
    """
    assert plan.budget.minutes is not None
    for label in labels:
        seconds = _step_seconds(plan, folder, label)
        steps = max(1, round(60 * plan.budget.minutes / seconds))
        log(f"{label}: {seconds:.2f} s a step, so {steps} steps in {plan.budget}")
        yield label, steps


def steps_of_equal_minutes(plan: Plan, folder: Path, log: Callable[[str], object]) -> int:
    """How many steps the student alone makes in the time that the costliest method takes for the recipe's steps.

    Args:
        plan: Of the study; its budget is steps.
        folder: Of the study, in which its teacher is.
        log: Takes messages for people.

    Returns:
        At least the recipe's steps.
    """
    seconds = {label: _step_seconds(plan, folder, label) for label in (ALONE, *plan.methods) if label != LONGER}
    costliest = max(seconds, key=lambda label: seconds[label])
    ratio = seconds[costliest] / seconds[ALONE]
    steps = round(plan.recipe.steps * ratio)
    log(f"{LONGER}: a step of {costliest} takes {ratio:.2f} times its own, so it makes {steps} steps")
    return steps


def _step_seconds(plan: Plan, folder: Path, label: str) -> float:
    recipe = plan.recipe_of(Job(label, plan.seeds[0]), folder)
    task = resolve(recipe, distills=bool(recipe.method)).task_with_teacher()
    stream = Stream(task.data, recipe.augment, recipe.seed)
    for position in range(_STEPS * recipe.batch_size):  # what is timed first would else pay for a cold disk
        stream[position]
    return dry_run(label, task, recipe.augment, steps=_STEPS, images=recipe.batch_size).step_seconds
