"""Distilling a student, and measuring what that was worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.commands.common import with_folder, with_warning
from segdistill.data import create_dataset
from segdistill.models.open import open_model
from segdistill.recipe.recipe import DEFAULT_METHOD, Recipe, load_recipe
from segdistill.reporting.pictures import save_predictions
from segdistill.reporting.study_files import save_study
from segdistill.runtime.display import console
from segdistill.runtime.processes import is_main
from segdistill.studies.distillation import measure_distillation
from segdistill.studies.result import ALONE, TEACHER, Study
from segdistill.training.plan import resolve


@dataclass(frozen=True)
class Distilled:
    """A finished `distill`.

    Attributes:
        folder: Its run folder.
        study: What it was worth, as a study of one seed.
    """

    folder: Path
    study: Study

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: those of the study, and the folder."""
        return {"folder": str(self.folder), **self.study.as_dict()}


def distill(*parts: str | Path, resume: bool = False, quiet: bool = False, **overrides: Any) -> Distilled:
    """Distil the recipe's student and measure what it was worth.

    The folder `out` gets the distilled student, what was measured (study.json, table.md, table.csv; scores of every
    class in scores.json) and grid.png; its subfolders `teacher` and `alone` get the runs of the teacher (unless
    `teacher.weights` names one) and of the student alone (unless `baseline` is "none" or names one).

    Args:
        *parts: Those of `load_recipe`.
        resume: Go on with the run that the folder holds; a finished one is measured again.
        quiet: Show no progress.
        **overrides: Those of `load_recipe`.

    Returns:
        The run folder and the study.

    Raises:
        SegdistillError: Something can't work; before anything is trained where that can be seen.
    """
    recipe = _with_method(with_warning(load_recipe(*parts, **overrides), quiet), quiet)
    recipe = with_folder(recipe, "-".join(method.name for method in recipe.method))
    done = resolve(recipe).run(resume=resume, quiet=quiet)
    assert done.teacher is not None
    folder, student = done.folder.path, open_model(done.folder.path)
    validation = create_dataset(recipe.data, "val")
    study = measure_distillation(recipe, folder, done.teacher, done.alone, student, validation, quiet=quiet)
    if is_main():
        save_study(study, folder)
        models = {TEACHER: done.teacher.model, ALONE: done.alone, "distilled": student}
        shown = {name: model for name, model in models.items() if model is not None}
        save_predictions(folder / "grid.png", shown, validation, recipe.inference)
    return Distilled(folder, study)


def _with_method(recipe: Recipe, quiet: bool) -> Recipe:
    """The recipe itself, or with the default method, which is printed then."""
    if not recipe.method and not quiet and is_main():
        console.print(
            f"method: {DEFAULT_METHOD}, the default, as the recipe names none; to choose, add one such as kd, cwd or "
            "bpkd",
            soft_wrap=True,
            markup=False,
        )
    return recipe.with_method()
