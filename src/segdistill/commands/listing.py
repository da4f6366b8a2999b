"""What a recipe can name."""

from __future__ import annotations

from typing import Any

from segdistill.core.errors import RecipeError, nearest
from segdistill.core.plugins import plugin_summaries, summaries
from segdistill.models.catalog import ZOO
from segdistill.recipe.published_rows import PublishedRow, measured, published_rows
from segdistill.recipe.words import comments, fragments


def available(what: str | None = None) -> dict[str, dict[str, Any]]:
    """What a recipe can name, with a line on each, and the published rows with all that is known of them.

    Args:
        what: "networks", "heads", "methods", "datasets", "recipes" (fragments and published rows) or "published"; None
            for all.

    Returns:
        Kind -> name -> a line on it, or the row.

    Raises:
        RecipeError: there is no such kind.
    """
    kinds: dict[str, dict[str, Any]] = {
        "networks": {
            **plugin_summaries("segdistill.models.catalog"),
            **{name: ", ".join(f"{key} {value}" for key, value in made_of.items()) for name, made_of in ZOO.items()},
        },
        "heads": summaries("segdistill.models.heads"),
        "methods": summaries("segdistill.methods"),
        "datasets": summaries("segdistill.data.datasets"),
        "recipes": {name: text.lstrip("# ").partition("\n")[0] for name, text in sorted(fragments().items())},
        "published": {name: _described(row) for name, row in published_rows().items()},
    }
    if what is not None and (not isinstance(what, str) or what not in kinds):
        raise RecipeError(f"Nothing to list is called {what!r}.{nearest(str(what), kinds)}")
    if what is None:
        return kinds
    return {kind: kinds[kind] for kind in ((what, "published") if what == "recipes" else (what,))}


def _described(row: PublishedRow) -> dict[str, Any]:
    """A published row, where its constants come from, and our own result if there is one."""
    plain = row.as_dict()
    origins = plain.pop("origins")
    described = {word: comments(word) if word in fragments() else "" for word in row.words}
    constants = {word: f"{text} {origins.get(word, '')}".strip() for word, text in described.items()}
    return {**plain, "constants": constants, "measured": measured().get(row.name)}
