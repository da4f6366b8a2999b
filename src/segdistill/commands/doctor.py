"""What a run would see before it runs."""

from __future__ import annotations

from typing import Literal, SupportsIndex, Unpack

from segdistill.core.errors import RecipeError
from segdistill.diagnosis.diagnose import Diagnosis, diagnose
from segdistill.recipe.keywords import RecipeKeys, Word, takes_recipe_keys
from segdistill.recipe.recipe import load_recipe


@takes_recipe_keys
def doctor(
    *words: Word, images: int | Literal["all"] = 500, quiet: bool = False, **keys: Unpack[RecipeKeys]
) -> Diagnosis:
    """What a run would see: its data, its teacher's agreement with the labels, its time and memory, and all problems.

    Files that are broken or odd are in the result, not raised.

    Args:
        *words: Words of a recipe, as for `train` and `distill`, or a whole one; data alone is enough.
        images: How many of each split are read, evenly spread, or "all".
        quiet: Show no progress.
        **keys: Recipe keys over the words; networks, data sets and methods may be objects.

    Returns:
        What was found, and every problem with its remedy.

    Raises:
        RecipeError: The recipe makes no sense.
    """
    if images != "all" and not (isinstance(images, SupportsIndex) and images >= 1):
        raise RecipeError(f"Key 'images': expected a number of at least 1 or 'all', found {images!r}.")
    return diagnose(load_recipe(*words, **keys), images=None if images == "all" else images, quiet=quiet)
