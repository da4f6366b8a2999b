"""What the verbs share."""

from __future__ import annotations

import re
from pathlib import Path

from segdistill.recipe.recipe import Recipe
from segdistill.runtime.display import console
from segdistill.runtime.processes import is_main


def with_warning(recipe: Recipe, quiet: bool) -> Recipe:
    """Print the recipe's warning, if it has one, from the main process.

    Args:
        recipe: as it was loaded.
        quiet: print nothing.

    Returns:
        The recipe itself.
    """
    if recipe.warning and not quiet and is_main():
        console.print(recipe.warning, soft_wrap=True, markup=False)
    return recipe


def with_folder(recipe: Recipe, name: str) -> Recipe:
    """The recipe with a folder to write.

    Args:
        recipe: whose key `out` may be null.
        name: of what is run, for the folder's name.

    Returns:
        The recipe itself if it has `out`, else one whose `out` is runs/<data>-<name>-seed<n>.
    """
    if recipe.out is not None:
        return recipe
    data, name = (re.sub(r".*[:/]", "", each) for each in (recipe.data.name, name))  # of an import path the class
    return recipe.model_copy(update={"out": Path("runs") / f"{data}-{name}-seed{recipe.seed}"})
