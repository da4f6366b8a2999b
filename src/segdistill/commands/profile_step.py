"""`profile --step`: where the time of a recipe's steps goes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Unpack

from segdistill.core.errors import RecipeError
from segdistill.recipe.keywords import RecipeKeys, Word, takes_recipe_keys
from segdistill.recipe.recipe import load_recipe
from segdistill.training.plan import resolve
from segdistill.training.step_profile import StepProfile, profile_steps


@takes_recipe_keys
def profile_step(*words: Word, timed: int = 5, **keys: Unpack[RecipeKeys]) -> StepProfile:
    """Where the time of a training step goes, and what would make it shorter; from a few real steps, thrown away.

    Args:
        *words: Words of a recipe, as for `distill`; one without a teacher is trained alone, as by `train`.
        timed: How many steps are timed, after two that warm up.
        **keys: Recipe keys over the words; networks, data sets and methods may be objects.

    Returns:
        Milliseconds by part, and advice.

    Raises:
        RecipeError: The recipe makes no sense.
        DataError: A sample can't be read.
    """
    if timed < 1:
        raise RecipeError(f"Key 'timed': expected a number of at least 1, got {timed}.")
    recipe = load_recipe(*words, **keys)
    distills = recipe.role == "student" and (recipe.teacher.weights or recipe.teacher.network) is not None
    with tempfile.TemporaryDirectory() as folder:  # a plan names its run's folder; nothing is written there
        recipe = recipe.model_copy(update={"out": Path(folder), "baseline": "none"})
        return profile_steps(resolve(recipe, distills=distills).task_with_teacher(), timed)
