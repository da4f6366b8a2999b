"""What the verbs share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segdistill.core.errors import RecipeError, SegdistillError, nearest
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.loaded import LoadedModel
from segdistill.models.open import open_model
from segdistill.recipe.composition import is_assignment, key_values
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


def require_student_role(recipe: Recipe, verb: str) -> None:
    """Refuse a recipe that is to train a teacher.

    Args:
        recipe: as it was loaded.
        verb: that trains students.

    Raises:
        RecipeError: its `role` is "teacher".
    """
    if recipe.role == "teacher":
        raise RecipeError(
            f"role=teacher has no meaning here: {verb} trains students, and the teacher before them if teacher.weights "
            "names none. Leave it out; segdistill train takes it."
        )


def require_inference_keys(words: Iterable[Word], settings: Iterable[str], verb: str) -> None:
    """Refuse keys of a recipe that say nothing of how images are run.

    Args:
        words: of a recipe, as people gave them.
        settings: the verb's own keys, which a misspelt one may be near to.
        verb: that runs images.

    Raises:
        RecipeError: a key is of another section than `inference`.
    """
    for word in words:
        key = word.partition("=")[0] if isinstance(word, str) and is_assignment(word) else "inference"
        if key.partition(".")[0] != "inference":
            keys = {*settings, *(f"inference.{name}" for name in InferenceConfig.model_fields)}
            raise RecipeError(f"'{word}': {verb} has no key '{key}'.{nearest(key, keys)}")


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


def student_alone(recipe: Recipe, run: Path) -> LoadedModel | None:
    """The student alone that a distilled one was measured against, if it can be opened; if not, that is printed.

    Args:
        recipe: Of the distillation.
        run: Its folder.

    Returns:
        The network; None as well if there was none.
    """
    if recipe.baseline == "none" or (recipe.baseline == "train" and not (run / "alone").exists()):
        return None
    try:
        return open_model(run / "alone" if recipe.baseline == "train" else recipe.baseline)
    except SegdistillError as error:  # it has moved, or was named from another folder
        if is_main():
            console.print(f"student alone: left out. {error}", soft_wrap=True, markup=False)
        return None


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
