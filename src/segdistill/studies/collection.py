"""From the folder of a study to its result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from segdistill.data import create_dataset
from segdistill.data.fingerprint import fingerprint
from segdistill.data.labelled import labeled_indices
from segdistill.runtime.environment import describe_environment
from segdistill.studies.costs import costs, image_size
from segdistill.studies.jobs import finished, teacher_of
from segdistill.studies.measurement import measure, outcome, scores_file, teacher_outcome
from segdistill.studies.plan import Job, Plan
from segdistill.studies.result import TEACHER, Failure, NetworkCost, Outcome, Study
from segdistill.studies.summary import summarise


def collect(plan: Plan, folder: Path, failures: Sequence[Failure] = (), *, quiet: bool = False) -> Study:
    """Everything that is finished, as one result.

    Args:
        plan: Of the study.
        folder: Its folder; the teacher's scores and the costs are measured into it if they are not there.
        failures: Runs that could not be finished.
        quiet: Show no progress.

    Returns:
        The study, which nothing is written of yet; without outcomes if no run is finished.
    """
    data = create_dataset(plan.recipe.data, "val")
    done = [job for job in plan.jobs() if finished(folder, job)]
    images = fingerprint(data)
    for job in done:
        run = folder / job.name
        measure(scores_file(run), run, plan.recipe, data, images, quiet=quiet)
    outcomes = tuple(outcome(job.label, folder / job.name, folder) for job in done)
    has_teacher = not plan.trains_teacher() or finished(folder, Job(TEACHER, plan.recipe.seed))
    pairing = teacher_of(plan, folder) if has_teacher else None
    teacher: Outcome | None = None
    if pairing is not None and not pairing.incompatibility and done:
        scores = folder / "teacher-scores.json"
        measure(scores, pairing.model, plan.recipe, data, images, quiet=quiet)
        teacher = teacher_outcome(pairing.model, scores, folder)
    network_costs = [NetworkCost(0, 0.0, 0.0)] * 2
    if pairing is not None and done:
        network_costs = costs(folder / "costs.json", pairing.model, folder / done[0].name, data)
    methods = {label: [spec.model_dump(mode="json") for spec in specs] for label, specs in plan.methods.items()}
    failing = {(failure.label, failure.seed) for failure in failures}
    return Study(
        data=plan.recipe.data.name,
        images=len(labeled_indices(data)),
        size=image_size(data),
        classes=data.classes.names,
        seeds=plan.seeds,
        budget=str(plan.budget),
        teacher=teacher,
        teacher_cost=network_costs[0],
        student_cost=network_costs[1],
        outcomes=outcomes,
        summary=summarise(outcomes, methods, data.classes.names, teacher),
        failures=tuple(failures),
        pending=tuple(_pending(plan, {(job.label, job.seed) for job in done} | failing)),
        recipe=plan.recipe.model_dump(mode="json"),
        environment=describe_environment(),
        teacher_description="" if pairing is None else pairing.note,
    )


def _pending(plan: Plan, ended: set[tuple[str, int]]) -> Iterator[str]:
    return (str(job) for job in plan.jobs() if (job.label, job.seed) not in ended)
