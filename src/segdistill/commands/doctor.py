"""What a run would see before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from segdistill.core.errors import RecipeError
from segdistill.diagnosis.diagnose import Diagnosis, diagnose
from segdistill.recipe.recipe import load_recipe


def doctor(*parts: str | Path, images: int | Literal["all"] = 500, quiet: bool = False, **overrides: Any) -> Diagnosis:
    """What a run would see: its data, its teacher's agreement with the labels, its time and memory, and all problems.

    Files that are broken or odd are in the result, not raised.

    Args:
        *parts: Recipe parts, as for `train` and `distill`; data alone is enough.
        images: How many of each split are read, evenly spread, or "all".
        quiet: Show no progress.
        **overrides: Recipe keys over the parts.

    Returns:
        What was found, and every problem with its remedy.

    Raises:
        RecipeError: The recipe makes no sense.
    """
    if images != "all" and images < 1:
        raise RecipeError(f"Key 'images': expected a number of at least 1 or 'all', found {images!r}.")
    return diagnose(load_recipe(*parts, **overrides), images=None if images == "all" else images, quiet=quiet)
