"""What `compare` is asked to do: from words to the plan of a study, and what can't be done refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segdistill.commands.common import require_student_role
from segdistill.core.errors import RecipeError
from segdistill.recipe.composition import key_values
from segdistill.recipe.keywords import Word
from segdistill.recipe.recipe import MethodSpec, Recipe, load_recipe
from segdistill.studies.methods import Methods, read_methods
from segdistill.studies.plan import Plan, load_plan, plan_file, read_budget
from segdistill.studies.result import LONGER
from segdistill.training.handed_in import handed_in

_STUDY_WORDS = ("budget", "executor", "processes")


def split_words(words: Sequence[Word]) -> tuple[list[Word], dict[str, Any]]:
    """Part the words of a recipe from those that are the study's own.

    Args:
        words: Of both.

    Returns:
        Those of the recipe, and the values of the others by key.
    """
    study_words = [word for word in words if isinstance(word, str) and word.partition("=")[0] in _STUDY_WORDS]
    study_words = [word for word in study_words if "=" in word]
    return [word for word in words if not any(word is each for each in study_words)], key_values(study_words)


def requested_plan(
    parts: Sequence[Word], methods: Any, seeds: Any, budget: Any, overrides: dict[str, Any]
) -> tuple[Path, Plan]:
    """What a study is made of: what its folder says, what the words say, or both joined.

    Args:
        parts: Of the recipe, or the folder of a study.
        methods: As of `compare`.
        seeds: As of `compare`.
        budget: As of `compare`.
        overrides: Keys of the recipe over the parts.

    Returns:
        The study's folder and its plan.

    Raises:
        RecipeError: There is nothing to compare, the recipe has no teacher, or the folder holds another study.
    """
    first = Path(parts[0]) if parts and isinstance(parts[0], str | Path) else None
    if first is not None and plan_file(first).is_file():
        stored = load_plan(first)
        if len(parts) > 1 or overrides or budget is not None:
            raise RecipeError(
                f"{first} is a study; it goes on with the recipe and budget it holds. Add only methods= and seeds= "
                "to it, or name the whole recipe with another out=FOLDER."
            )
        read = read_methods(methods, stored.recipe.teacher)
        requested = stored.model_copy(update={"methods": read, "seeds": _seeds(seeds, stored.seeds)})
        folder = first
    else:
        recipe = load_recipe(*parts, **overrides)
        require_student_role(recipe, "compare")
        if recipe.teacher.weights is None and recipe.teacher.network is None:
            raise RecipeError("A study needs a teacher: a pair, such as mobile_pair, or teacher.weights=FOLDER.")
        if recipe.baseline not in ("train", "none"):
            raise RecipeError(
                f"baseline={recipe.baseline} has no meaning here: compare trains the student alone for every seed. "
                "Leave it out; distill takes one."
            )
        folder = recipe.out or Path("runs") / f"compare-{recipe.data.name}"
        read = _methods(methods, recipe)
        run_budget = read_budget(budget, recipe.steps)
        recipe = recipe.model_copy(update={"out": None, "method": [], "steps": run_budget.steps or recipe.steps})
        requested = Plan(recipe=recipe, methods=read, seeds=_seeds(seeds, (0, 1, 2)), budget=run_budget)
        stored = load_plan(folder) if plan_file(folder).is_file() else requested
    if LONGER in requested.methods and requested.budget.steps is None:
        raise RecipeError("A budget of minutes gives all runs equal minutes: leave `longer` out of the methods.")
    return folder, stored.joined(requested, folder)


def _methods(given: Methods, recipe: Recipe) -> dict[str, list[MethodSpec]]:
    """What is compared: the recipe's methods, together, and those that are named."""
    named, of_recipe = read_methods(given, recipe.teacher), recipe.method
    label = "+".join(method.name for method in of_recipe)
    if label in named and named[label] != list(of_recipe):
        raise RecipeError(
            f"The recipe's parts name {label} with other options than methods=, and two entries can't have one label. "
            f"Call the second one by another, as methods='plain={{name: {of_recipe[0].name}}}'."
        )
    methods = ({label: list(of_recipe)} if label else {}) | named
    if not methods:
        raise RecipeError("Nothing to compare: name methods=, such as default,kd,cwd,bpkd_light.")
    return methods


def _seeds(given: str | Sequence[int], default: tuple[int, ...]) -> tuple[int, ...]:
    words = given.split(",") if isinstance(given, str) else list(given)
    try:
        seeds = tuple(dict.fromkeys(int(word) for word in words if str(word).strip()))
    except ValueError as error:
        raise RecipeError(f"seeds is {given!r}; expected numbers with commas between, as 0,1,2.") from error
    if any(seed < 0 for seed in seeds):
        raise RecipeError(f"seeds is {given!r}; a seed is 0 or more.")
    return seeds or default


def require_steps(executor: str, plan: Plan) -> None:
    """Refuse what has to be timed on one machine where runs go to many.

    Args:
        executor: As of `compare`.
        plan: Of the study.

    Raises:
        RecipeError: It is so.
    """
    if executor == "slurm" and plan.budget.minutes is not None:
        raise RecipeError(
            "budget=minutes needs one machine that times every method before it runs; with executor=slurm set steps."
        )
    if executor == "slurm" and LONGER in plan.methods and LONGER not in plan.steps:
        raise RecipeError(
            "methods=longer needs one machine that times the runs first: leave it out with executor=slurm, and add it "
            "to the study afterwards by another executor."
        )


def require_one_process(executor: str, processes: int | None, plan: Plan) -> None:
    """Refuse other processes where the recipe or a method was handed in as an object.

    Args:
        executor: As of `compare`.
        processes: As of `compare`.
        plan: Of the study.

    Raises:
        RecipeError: It is so.
    """
    methods = [method for entry in plan.methods.values() for method in entry]
    held = handed_in(plan.recipe.model_copy(update={"method": methods}))
    if held and (executor != "local" or (processes or 1) > 1):
        raise RecipeError(
            f"{', '.join(f'{key} ({what})' for key, what in held.items())} was handed in as an object, which other "
            "processes can't read. Leave executor and processes out, or name it by its import path."
        )
