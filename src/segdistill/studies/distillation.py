"""A distillation as a study of one seed: teacher, student alone and distilled student, measured side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from segdistill.core.storage import write_json
from segdistill.data.base import SegmentationDataset
from segdistill.data.labelled import labeled_indices
from segdistill.models.checksum import identity_of
from segdistill.models.class_names import same_names
from segdistill.models.loaded import LoadedModel
from segdistill.recipe.recipe import Recipe
from segdistill.runs.folder import RunFolder
from segdistill.runtime.environment import describe_environment
from segdistill.runtime.processes import is_main
from segdistill.studies.costs import costs_of, image_size
from segdistill.studies.measurement import outcome_of, place_of, score, training_of
from segdistill.studies.result import ALONE, TEACHER, NetworkCost, Outcome, Study, Summary
from segdistill.studies.summary import summarise
from segdistill.training.pairing import Pairing, recorded

SCORES_FILES = {TEACHER: "teacher-scores.json", ALONE: "alone-scores.json"}
"""Where the run folder keeps the teacher's and the student alone's scores, of every class; scores.json has its own."""


def method_label(recipe: Recipe) -> str:
    """What a distillation's student is called in its study.

    Args:
        recipe: Of the distillation.

    Returns:
        The methods' names, as "kd+cwd".
    """
    return "+".join(method.name for method in recipe.with_method().method)


def measure_distillation(
    recipe: Recipe,
    folder: Path,
    teacher: Pairing,
    alone: LoadedModel | None,
    student: LoadedModel,
    data: SegmentationDataset,
    *,
    quiet: bool,
) -> Study:
    """Score and time the networks of a finished distillation, whatever was measured before.

    Args:
        recipe: Of the distillation.
        folder: Its run folder.
        teacher: As the methods saw it. One that knows other classes is only timed.
        alone: The student alone: trained beside the student, or any network that the recipe's `baseline` names.
        student: The distilled one.
        data: The validation images.
        quiet: Show no progress.

    Returns:
        A study of the recipe's seed. The gain is over the student alone, whatever its seed.
    """
    label = method_label(recipe)
    given = {TEACHER: teacher.model, ALONE: alone, label: student}
    models = {name: model for name, model in given.items() if model is not None}
    costs = dict(zip(models, costs_of(list(models.values()), data), strict=True))
    scored = {name: model for name, model in models.items() if same_names(model.classes.names, data.classes.names)}
    tried = {name: _outcome(name, model, recipe, folder, data, quiet=quiet) for name, model in scored.items()}
    outcomes = {name: outcome for name, outcome in tried.items() if outcome is not None}
    scored_teacher = outcomes.pop(TEACHER, None)
    summary, own_cost = _summaries(recipe, outcomes, data.classes.names, scored_teacher), _own_cost(costs, recipe)
    if own_cost is not None and own_cost.parameters != costs[label].parameters:  # a step of another network
        summary = tuple(replace(row, cost=None) for row in summary)
    return Study(
        data=recipe.data.name,
        images=len(labeled_indices(data)),
        size=image_size(data),
        classes=data.classes.names,
        seeds=(recipe.seed,),
        budget=f"{recipe.steps} steps",
        teacher=scored_teacher,
        teacher_cost=costs[TEACHER],
        student_cost=costs[label],
        outcomes=tuple(outcomes.values()),
        summary=summary,
        failures=(),
        pending=(),
        recipe=_shared(recorded(recipe, teacher)),
        environment=describe_environment(),
        alone_cost=own_cost,
        teacher_description=teacher.note,
    )


def _summaries(
    recipe: Recipe, outcomes: Mapping[str, Outcome], classes: Sequence[str], teacher: Outcome | None
) -> tuple[Summary, ...]:
    """Summaries of student alone and student; the gain is over the student alone that there is, whatever its seed."""
    methods = {method_label(recipe): [method.model_dump(mode="json") for method in recipe.with_method().method]}
    alone = {recipe.seed: outcomes[ALONE]} if ALONE in outcomes else {}
    return summarise(list(outcomes.values()), methods, classes, teacher, alone=alone)


def _outcome(
    label: str, model: LoadedModel, recipe: Recipe, folder: Path, data: SegmentationDataset, *, quiet: bool
) -> Outcome | None:
    """Score a network; the main process writes all of its scores into the run folder.

    None where no validation image has a labelled pixel: there is nothing to score, and the network is only timed.
    """
    scores = score(model, recipe, data, recipe.metrics, quiet=quiet)
    file = folder / SCORES_FILES.get(label, "scores.json")
    if is_main():
        write_json(file, {**scores, "of": {"network": identity_of(model)["checksum"]}})
    if scores["miou"] is None:
        return None
    trained = training_of(model, recipe.seed)
    return outcome_of(label, trained, scores, _made_in(model), place_of(model, folder), file)


def _made_in(model: LoadedModel) -> dict[str, Any]:
    """The environment of the network's run, or of this process where there is none to read."""
    try:
        written: dict[str, Any] = json.loads(RunFolder(model.path.parent).environment.read_text(encoding="utf-8"))
        return {**describe_environment(), **written}
    except (OSError, ValueError, TypeError):
        return describe_environment()


def _own_cost(costs: Mapping[str, NetworkCost], recipe: Recipe) -> NetworkCost | None:
    """Of a student alone that was given; one that is trained here is the student's own network."""
    return None if recipe.baseline == "train" else costs.get(ALONE)


def _shared(recipe: Recipe) -> dict[str, Any]:
    """The recipe but for what differs between the runs of a study."""
    return {key: value for key, value in recipe.model_dump(mode="json").items() if key not in ("seed", "out", "method")}
