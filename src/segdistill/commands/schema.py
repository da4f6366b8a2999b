"""`schema`: what a recipe file may hold, for editors."""

from __future__ import annotations

from typing import Any

from segdistill.recipe.schema import recipe_schema


def schema() -> dict[str, Any]:
    """The JSON schema of a recipe file: every key with its description, type, bounds and default.

    Returns:
        The schema (draft 2020-12) as plain values.
    """
    return recipe_schema()
