"""`train` and `distill`: from a recipe to a finished run folder."""

from __future__ import annotations

from segdistill.recipe.recipe import Recipe
from segdistill.runtime.display import console
from segdistill.runtime.processes import is_main
from segdistill.training.fit import Run, train_alone
from segdistill.training.plan import Distillation, resolve
from segdistill.training.shares import require_possible
from segdistill.training.task import make_task, run_folder

__all__ = ["Distillation", "Run", "distill", "train"]


def train(recipe: Recipe, *, resume: bool = False, quiet: bool = False) -> Run:
    """Train the recipe's student or teacher (its `role`) alone, without distillation, into the folder `recipe.out`.

    Args:
        recipe: What is trained, and how.
        resume: Continue the run of that folder; without it a folder in use is an error.
        quiet: Show no progress.

    Raises:
        RecipeError: If the recipe can't be trained; nothing is written then.
        TrainingError: If the folder holds another run, or the run has to stop.
    """
    run_folder(recipe)
    require_possible(recipe)
    return train_alone(make_task(recipe, recipe.role), resume=resume, quiet=quiet)


def distill(recipe: Recipe, *, resume: bool = False, quiet: bool = False) -> Distillation:
    """Distil the recipe's student into `recipe.out`, after its teacher and the student alone where they are missing.

    A recipe without a method is distilled with the default one. Everything that can be refused is refused before
    anything is trained.

    Args:
        recipe: What is distilled, and how.
        resume: Continue the run of that folder; without it a folder in use is an error.
        quiet: Show no progress.

    Raises:
        RecipeError: If the recipe can't be distilled; nothing is written then.
        TrainingError: If the folder holds another run, or a run has to stop.
    """
    if not recipe.method:
        recipe = recipe.with_method()
        if not quiet and is_main():
            name = recipe.method[0].name
            console.print(
                f"method: {name}, the default, as the recipe names none; to choose, add one such as kd, cwd or bpkd",
                soft_wrap=True,
                markup=False,
            )
    return resolve(recipe).run(resume=resume, quiet=quiet)
