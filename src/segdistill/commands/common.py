"""What the verbs share."""

from __future__ import annotations

from pathlib import Path

from segdistill.recipe.recipe import Recipe
from segdistill.runtime.display import console
from segdistill.runtime.processes import is_main


def _told(recipe: Recipe, quiet: bool) -> Recipe:
    """The recipe itself, after what people should know about it was said."""
    if recipe.remark and not quiet and is_main():
        console.print(recipe.remark, soft_wrap=True, markup=False)
    return recipe


def _with_folder(recipe: Recipe, what: str) -> Recipe:
    """The recipe with a run folder: its own, or runs/<data>-<what>-seed<n>."""
    if recipe.out is not None:
        return recipe
    return recipe.model_copy(update={"out": Path("runs") / f"{recipe.data.name}-{what}-seed{recipe.seed}"})
