"""Distilling a student, and measuring what that was worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from segdistill.commands.common import require_student_role, with_folder, with_warning
from segdistill.commands.report import Report, report
from segdistill.core.errors import TrainingError
from segdistill.core.results import Result
from segdistill.data import create_dataset
from segdistill.models.checksum import identity_of
from segdistill.models.open import open_model
from segdistill.recipe.keys import changeable_keys
from segdistill.recipe.keywords import RecipeKeys, Word, takes_recipe_keys
from segdistill.recipe.recipe import Recipe, load_recipe
from segdistill.reporting.pictures import save_predictions
from segdistill.reporting.study_files import save_study
from segdistill.reporting.study_table import cells
from segdistill.runs.folder import Resume, RunFolder
from segdistill.runs.trackers import Trackers
from segdistill.runtime.display import console
from segdistill.runtime.processes import is_main
from segdistill.studies.distillation import SCORES_FILES, measure_distillation
from segdistill.studies.measurement import read_scores
from segdistill.studies.result import ALONE, STUDY_FILE, TEACHER, Study
from segdistill.studies.stored import load_study
from segdistill.training.plan import resolve


@dataclass(frozen=True, repr=False)
class Distilled(Result):
    """A finished `distill`.

    Attributes:
        folder: Its run folder.
        study: What it was worth, as a study of one seed.
    """

    folder: Path
    study: Study

    @property
    def gain(self) -> float | None:
        """What distillation was worth, in points of mIoU over the student alone; None if that was not trained."""
        return self.study.gain

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the gain; None, as a single seed gives none."""
        return self.study.interval

    def report(self, **options: Any) -> Report:
        """Write the page of this distillation.

        Args:
            **options: Those of `segdistill.report`.
        """
        return report(self.folder, **options)

    def records(self) -> list[dict[str, Any]]:
        """Those of the study."""
        return self.study.records()

    def __repr__(self) -> str:
        return f"Distilled({self.folder}, {self.study!r})"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: those of the study, and the folder."""
        return {"folder": str(self.folder), **self.study.as_dict()}


@takes_recipe_keys
def distill(*words: Word, resume: Resume = False, quiet: bool = False, **keys: Unpack[RecipeKeys]) -> Distilled:
    """Distil the recipe's student and measure what it was worth.

    The folder `out` gets the distilled student, what was measured (study.json, table.md, table.csv; scores of every
    class in scores.json) and grid.png; its subfolders `teacher` and `alone` get the runs of the teacher (unless
    `teacher.weights` names one) and of the student alone (unless `baseline` is "none" or names one).

    Args:
        *words: Words of a recipe, as for `load_recipe`, or a whole one.
        resume: Go on with the run that the folder holds; a finished one is measured again. "auto" goes on if the folder
            holds this very recipe and returns at once what is finished, begins if it is empty, and else refuses.
        quiet: Show no progress.
        **keys: Recipe keys over the words; networks, data sets and methods may be objects.

    Returns:
        The run folder and the study.

    Raises:
        SegdistillError: Something can't work; before anything is trained where that can be seen.
    """
    recipe = load_recipe(*words, **keys)
    require_student_role(recipe, "distill")
    recipe = _with_method(with_warning(recipe, quiet), quiet)
    name = "-".join(method.name.rpartition(":")[2] for method in recipe.method)
    recipe = with_folder(recipe, name)
    _refuse_other_teacher(recipe)
    finished = _finished(recipe) if resume == "auto" else None
    if finished is not None:
        return finished
    done = resolve(recipe).run(resume=resume, quiet=quiet)
    assert done.teacher is not None
    folder, student = done.folder.path, open_model(done.folder.path)
    validation = create_dataset(recipe.data, "val")
    study = measure_distillation(recipe, folder, done.teacher, done.alone, student, validation, quiet=quiet)
    if is_main():
        save_study(study, folder)
        with Trackers(recipe.log, done.folder, recipe.steps) as trackers:
            trackers.log_table(*cells(study), folder / "table.md")
        models = {TEACHER: done.teacher.model, ALONE: done.alone, "distilled": student}
        shown = {name: model for name, model in models.items() if model is not None}
        save_predictions(folder / "grid.png", shown, validation, recipe.inference)
    return Distilled(folder, study)


def _refuse_other_teacher(recipe: Recipe) -> None:
    """Refuse a folder whose student was taught by other weights than the teacher has now."""
    assert recipe.out is not None
    weights, file = recipe.teacher.weights, recipe.out / SCORES_FILES[TEACHER]
    if not isinstance(weights, str) or not file.is_file():
        return
    before = read_scores(file).get("of", {}).get("network")
    if before not in (None, identity_of(open_model(weights))["checksum"]):
        raise TrainingError(
            f"{weights} holds other weights than those that taught the student in {recipe.out}. Choose another "
            "out=FOLDER for this teacher."
        )


def _finished(recipe: Recipe) -> Distilled | None:
    """What the recipe's folder holds of this very recipe, if it is trained and measured."""
    assert recipe.out is not None
    folder = RunFolder(recipe.out)
    trained = folder.finished("student") and (folder.path / STUDY_FILE).is_file()
    read_back = not isinstance(recipe.teacher.class_map, Path)  # a map's file may have changed
    if not (trained and read_back and folder.holds(recipe.model_dump(mode="json"), changeable_keys())):
        return None
    return Distilled(folder.path, load_study(folder.path))


def _with_method(recipe: Recipe, quiet: bool) -> Recipe:
    """The recipe itself, or with the default methods, which are printed then."""
    named = recipe.with_method()
    if not recipe.method and not quiet and is_main():
        names = " and ".join(method.name for method in named.method)
        console.print(
            f"method: {names}, the default, as the recipe names none; to choose, add one such as kd, cwd or bpkd",
            soft_wrap=True,
            markup=False,
        )
    return named
