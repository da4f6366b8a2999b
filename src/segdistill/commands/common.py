"""What the verbs share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segdistill.models.loaded import LoadedModel
from segdistill.recipe.composition import key_values
from segdistill.recipe.keywords import Word
from segdistill.recipe.recipe import Recipe
from segdistill.runs.folder import RunFolder, run_of
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


def split_network(words: Sequence[Word], options: Mapping[str, Any] | None) -> tuple[list[Word], dict[str, Any]]:
    """The words but those that describe a network, and what describes it.

    Args:
        words: Among which `network.key=value` and `network={key: value}` describe the network.
        options: Further ones, which come last.

    Returns:
        The other words, and all options of the network.
    """
    texts = [word for word in words if isinstance(word, str) and re.match(r"network[.=]", word)]
    others = [word for word in words if not (isinstance(word, str) and word in texts)]
    return others, {**key_values(texts).get("network", {}), **(options or {})}


def run_folder_of(model: LoadedModel) -> RunFolder | None:
    """The run that a network comes from.

    Args:
        model: As it was loaded.

    Returns:
        The folder, whether or not a run is in it; None for a network of another library or one that was handed in.
    """
    return run_of(model.path) if model.path.exists() else None


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
