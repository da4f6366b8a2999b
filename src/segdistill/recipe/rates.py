"""Learning rates that came with another batch size than a recipe has."""

from __future__ import annotations

from segdistill.recipe.merging import RATE, Origin
from segdistill.recipe.teacher import TeacherConfig
from segdistill.recipe.training import OptimizerConfig, TrainingConfig

_TEACHER = f"teacher.train.{RATE}"
_CALLED = {RATE: "the learning rate", _TEACHER: "the teacher's learning rate"}


def for_batch(
    training: TrainingConfig, teacher: TeacherConfig, origin: Origin, *, trains_teacher: bool
) -> tuple[OptimizerConfig, TeacherConfig, str]:
    """The rates of a recipe, scaled linearly for its batch if `auto_scale_lr` asks for that.

    Args:
        training: The recipe's own keys.
        teacher: Its section `teacher`.
        origin: Says which batch size the rates came with, if they came with a fragment, file or published row.
        trains_teacher: Whether its role is "teacher".

    Returns:
        The optimizer and the teacher with their rates, and what people should know: that these were scaled, or that
        they were not; "" where all is well.
    """
    tuned = origin.tuned_batch()
    rates = _rates(training, teacher, origin, trains_teacher)
    if not tuned or tuned == training.batch_size or not rates:
        return training.optimizer, teacher, ""
    scaled = {path: float(f"{rate * training.batch_size / tuned:.6g}") for path, rate in rates.items()}
    came = " and ".join(f"{_CALLED[path]} {rate:g}" for path, rate in rates.items())
    they, are, them = ("It", "is", "it") if len(rates) == 1 else ("They", "are", "them")
    values = " and ".join(f"{rate:g}" for rate in scaled.values())
    text = f"batch_size is {training.batch_size}, and {came} came with one of {tuned}"
    if not training.auto_scale_lr:
        as_it_was = f"{text}. {they} {are} left; auto_scale_lr=true would make {them} {values}."
        return training.optimizer, teacher, as_it_was
    optimizer = training.optimizer.model_copy(update={"lr": scaled.get(RATE, training.optimizer.lr)})
    if _TEACHER in scaled:
        train = {**teacher.train, "optimizer": {**teacher.train["optimizer"], "lr": scaled[_TEACHER]}}
        teacher = teacher.model_copy(update={"train": train})
    return optimizer, teacher, f"{text}. {they} {are} scaled to {values}."


def _rates(training: TrainingConfig, teacher: TeacherConfig, origin: Origin, trains_teacher: bool) -> dict[str, float]:
    """The rates that networks are trained with here, by the key that sets them."""
    has_rate = isinstance(teacher.train.get("optimizer"), dict) and "lr" in teacher.train["optimizer"]
    rates = {} if trains_teacher and has_rate else {RATE: training.optimizer.lr}
    same_source = origin.sources.get(_TEACHER) == origin.sources.get(RATE)
    if has_rate and same_source and teacher.weights is None and "batch_size" not in teacher.train:
        rates[_TEACHER] = teacher.train["optimizer"]["lr"]
    return rates
