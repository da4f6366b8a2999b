"""Training one network alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.commands.common import with_folder, with_warning
from segdistill.commands.evaluate import evaluate
from segdistill.evaluation.metrics import Scores
from segdistill.models.files import read_description
from segdistill.models.spec import Role
from segdistill.recipe.recipe import load_recipe
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
    done = evaluate(run.folder.path, quiet=quiet, boundary=False, calibration=False, agreement=False)
    trained = read_description(done.weights).trained
    return Trained(
        run.folder.path, recipe.role, done.scores, trained["best_miou"], trained["best_step"], trained["seconds"]
    )
