"""Learning rates that came with another batch size than a recipe has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segdistill.recipe.merging import RATE, Origin

if TYPE_CHECKING:
    from segdistill.recipe.recipe import Recipe

_TEACHER = f"teacher.train.{RATE}"


def for_batch(recipe: Recipe, origin: Origin) -> tuple[Recipe, str]:
    """The recipe with its rates scaled linearly for its batch if `auto_scale_lr` asks for that.

    Args:
        recipe: Checked.
        origin: Says which batch size the rates came with, if they came with a fragment, file or published row.

    Returns:
        The recipe, and what people should know: that rates were scaled, or that they were not; "" where all is well.
    """
    tuned = origin.tuned_batch()
    rates = _rates(recipe, origin)
    if not tuned or tuned == recipe.batch_size or not rates:
        return recipe, ""
    scaled = {path: float(f"{rate * recipe.batch_size / tuned:.6g}") for path, rate in rates.items()}
    called = {RATE: "the learning rate", _TEACHER: "the teacher's learning rate"}
    came = " and ".join(f"{called[path]} {rate:g}" for path, rate in rates.items())
    they, are, them = ("It", "is", "it") if len(rates) == 1 else ("They", "are", "them")
    values = " and ".join(f"{rate:g}" for rate in scaled.values())
    text = f"batch_size is {recipe.batch_size}, and {came} came with one of {tuned}"
    if not recipe.auto_scale_lr:
        return recipe, f"{text}. {they} {are} left; auto_scale_lr=true would make {them} {values}."
    return _with(recipe, scaled), f"{text}. {they} {are} scaled to {values}."


def _rates(recipe: Recipe, origin: Origin) -> dict[str, float]:
    """The rates that networks are trained with here, by the key that sets them."""
    train = recipe.teacher.train
    own = isinstance(train.get("optimizer"), dict) and "lr" in train["optimizer"]
    rates = {} if recipe.role == "teacher" and own else {RATE: recipe.optimizer.lr}
    same_source = origin.sources.get(_TEACHER) == origin.sources.get(RATE)
    if own and same_source and recipe.teacher.weights is None and "batch_size" not in train:
        rates[_TEACHER] = train["optimizer"]["lr"]
    return rates


def _with(recipe: Recipe, rates: dict[str, float]) -> Recipe:
    update: dict[str, Any] = {}
    if RATE in rates:
        update["optimizer"] = recipe.optimizer.model_copy(update={"lr": rates[RATE]})
    if _TEACHER in rates:
        train = recipe.teacher.train
        optimizer = {**train["optimizer"], "lr": rates[_TEACHER]}
        update["teacher"] = recipe.teacher.model_copy(update={"train": {**train, "optimizer": optimizer}})
    return recipe.model_copy(update=update)
