"""Training one network alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

from segdistill.commands.common import with_folder, with_warning
from segdistill.commands.evaluate import evaluate
from segdistill.core.results import Result
from segdistill.core.storage import write_json
from segdistill.evaluation.metrics import Scores, by_class
from segdistill.models.files import read_description, weight_file
from segdistill.models.spec import Role
from segdistill.recipe.keywords import RecipeKeys, Word, takes_recipe_keys
from segdistill.recipe.recipe import load_recipe
from segdistill.runs.folder import Resume
from segdistill.runtime.display import console
from segdistill.runtime.processes import is_main
from segdistill.studies.measurement import scores_file
from segdistill.training.plan import resolve


@dataclass(frozen=True, repr=False)
class Trained(Result):
    """A finished `train`.

    Attributes:
        folder: Of the run.
        role: Of the network.
        scores: Of the network that it hands over, on validation.
        classes: Their names, in the order of `scores.iou`.
        best_miou: Of the best validation on the way, in percent; None if no validation image has a label.
        best_step: The step it was made at.
        seconds: Of training.
    """

    folder: Path
    role: Role
    scores: Scores
    classes: tuple[str, ...]
    best_miou: float | None
    best_step: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; scores of classes by class name."""
        values = {key: value for key, value in asdict(self).items() if key != "classes"}
        return {**values, "folder": str(self.folder), "scores": by_class(self.scores.as_dict(), self.classes)}

    def __repr__(self) -> str:
        return f"Trained({self.role} in {self.folder}, mIoU {self.scores.miou:.2f})"


@takes_recipe_keys
def train(*words: Word, resume: Resume = False, quiet: bool = False, **keys: Unpack[RecipeKeys]) -> Trained:
    """Train one network of the recipe alone: the student, or with `role=teacher` the teacher.

    The folder gets scores.json where the run's last validation was not of these weights and all validation images.

    Args:
        *words: Words of a recipe, as for `load_recipe`, or a whole one.
        resume: Go on with the run that the folder holds; "auto" goes on if it holds this very recipe, and begins if it
            is empty.
        quiet: Show no progress.
        **keys: Recipe keys over the words; networks, data sets and methods may be objects.

    Returns:
        The run and its scores.

    Raises:
        RecipeError: The recipe can't be trained; nothing is written then.
        TrainingError: The folder holds another run, or the run has to stop.
    """
    loaded = with_warning(load_recipe(*words, **keys), quiet)
    recipe = with_folder(loaded.model_copy(update={"method": []}) if loaded.method else loaded, loaded.role)
    plan = resolve(recipe, distills=False)
    if loaded.method and not quiet and is_main():
        names = " and ".join(method.name for method in loaded.method)
        text = f"train uses no teacher, so {names} is left out; segdistill distill uses it"
        console.print(text, soft_wrap=True, markup=False)
    folder = plan.run(resume=resume, quiet=quiet).folder
    description = read_description(weight_file(folder.path))
    trained = description.trained
    config = recipe.teacher_training() if recipe.role == "teacher" else recipe.training()
    step = trained["best_step"] if trained["keep"] == "best" else trained["steps"]
    on_all = step == trained["steps"] or (config.validate_images is None and "best_images" not in trained)
    scores = folder.validated(trained) if on_all else None
    if scores is None:  # a few images were looked at, weights were refitted after that, or the journal is gone
        quality = evaluate(folder.path, quiet=quiet, boundary=False, calibration=False, agreement=False).quality
        scores = quality.scores
        if is_main():
            write_json(scores_file(folder.path), quality.as_dict())
    best = trained["best_miou"], trained["best_step"]
    return Trained(folder.path, recipe.role, scores, description.classes.names, *best, trained["seconds"])
