"""Training one network alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.commands.common import with_folder, with_warning
from segdistill.commands.evaluate import evaluate
from segdistill.core.errors import DataError
from segdistill.evaluation.metrics import Scores
from segdistill.models.files import read_description, weight_file
from segdistill.models.spec import Role
from segdistill.recipe.recipe import Recipe, load_recipe
from segdistill.reporting.curves import journal
from segdistill.training.plan import resolve


@dataclass(frozen=True)
class Trained:
    """A finished `train`.

    Attributes:
        folder: Of the run.
        role: Of the network.
        scores: Of the network that it hands over, on validation.
        best_miou: Of the best validation on the way, in percent; None if no validation image has a label.
        best_step: The step it was made at.
        seconds: Of training.
    """

    folder: Path
    role: Role
    scores: Scores
    best_miou: float | None
    best_step: int
    seconds: float


def train(*parts: str | Path, resume: bool = False, quiet: bool = False, **overrides: Any) -> Trained:
    """Train one network of the recipe alone: the student, or with `role=teacher` the teacher.

    Args:
        *parts: Recipe parts, as for `load_recipe`.
        resume: Continue the run that the folder holds.
        quiet: Show no progress.
        **overrides: Recipe keys over the parts.

    Returns:
        The run and its scores.

    Raises:
        RecipeError: The recipe can't be trained; nothing is written then.
        TrainingError: The folder holds another run, or the run has to stop.
    """
    recipe = with_warning(load_recipe(*parts, **overrides), quiet)
    recipe = with_folder(recipe, recipe.role)
    run = resolve(recipe, distills=False).run(resume=resume, quiet=quiet)
    folder = run.folder.path
    trained = read_description(weight_file(folder)).trained
    scores = _validated(folder, recipe, trained)
    if scores is None:
        scores = evaluate(folder, quiet=quiet, boundary=False, calibration=False, agreement=False).scores
    return Trained(folder, recipe.role, scores, trained["best_miou"], trained["best_step"], trained["seconds"])


def _validated(folder: Path, recipe: Recipe, trained: dict[str, Any]) -> Scores | None:
    """The scores of the network that is handed over, if the run has validated it on all images."""
    config = recipe.teacher_training() if recipe.role == "teacher" else recipe.training()
    step = trained["best_step"] if trained["keep"] == "best" else trained["steps"]
    if step != trained["steps"] and config.validate_images is not None:
        return None
    try:
        entries = [entry for entry in journal(folder) if entry["kind"] == "validation" and entry["step"] == step]
        return Scores.from_dict(entries[-1]) if entries else None
    except (DataError, KeyError):  # the run's journal is gone or damaged; its network is not
        return None
