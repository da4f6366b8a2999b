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
    """A finished `train`. scores: of the network it hands over; the best validation and its step stand beside them.

    best_miou: None if no validation image has a label.
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
        parts: Recipe parts, as for `load_recipe`.
        resume: Continue the run that the folder holds.
        quiet: Show no progress.
        overrides: Recipe keys over the parts.

    Raises:
        RecipeError: If the recipe can't be trained; nothing is written then.
        TrainingError: If the folder holds another run, or the run has to stop.
    """
    recipe = with_warning(load_recipe(*parts, **overrides), quiet)
    recipe = with_folder(recipe, recipe.role)
    run = resolve(recipe, distills=False).run(resume=resume, quiet=quiet)
    done = evaluate(run.folder.path, quiet=quiet, boundary=False, calibration=False, agreement=False)
    trained = read_description(done.weights).trained
    return Trained(
        run.folder.path, recipe.role, done.scores, trained["best_miou"], trained["best_step"], trained["seconds"]
    )
