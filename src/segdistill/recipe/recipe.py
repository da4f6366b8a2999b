"""The typed recipe: everything a run depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from segdistill.core.discovery import check_options, explain
from segdistill.core.errors import RecipeError
from segdistill.core.paths import expanded
from segdistill.data import DatasetConfig
from segdistill.data.augment import Augment
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig
from segdistill.methods.base import method_class
from segdistill.models.spec import Role
from segdistill.recipe.composition import Origin, compose
from segdistill.recipe.method_schedule import MethodSchedule
from segdistill.recipe.renamed import name_new_key
from segdistill.recipe.teacher import Network, TeacherConfig
from segdistill.recipe.training import TrainingConfig

DEFAULT_METHOD = "canonical"
"""What distils when a recipe names no method."""


class MethodSpec(BaseModel):
    """A distillation method, its options, which its own signature checks, and when it counts and how much."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    schedule: MethodSchedule = MethodSchedule()

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    @model_serializer(mode="wrap")
    def _without_the_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        if self.schedule == MethodSchedule():  # recipes of runs that know no schedule stay the same
            written.pop("schedule", None)
        return written

    @model_validator(mode="after")
    def _known(self) -> MethodSpec:
        check_options(method_class(self.name), self.options, f"method.{self.name}")
        return self


def _methods(value: Any) -> Any:
    """One name, one method or a list of either, as a list of methods."""
    items = value if isinstance(value, list) else [value]
    return [{"name": item} if isinstance(item, str) else item for item in items]


class Recipe(TrainingConfig):
    """A run. Data, networks, methods and, as keys of its own, the training of `TrainingConfig`.

    out: the folder it writes. role: which network `train` trains. method: what `distill` distils with, `canonical` if
    none is named. baseline: the student alone that the distilled one is measured against: "train" it with the same
    data, steps and seed, "none", or the path of an existing run.
    inference: how images are run through a network that is scored or predicts. metrics: what `evaluate` measures.
    """

    out: Annotated[Path, AfterValidator(expanded)] | None = None
    role: Role = "student"
    data: DatasetConfig
    augment: Augment = Augment()
    student: Network | None = None
    teacher: TeacherConfig = TeacherConfig()
    method: Annotated[list[MethodSpec], BeforeValidator(_methods)] = []  # noqa: RUF012
    baseline: str = "train"
    inference: InferenceConfig = InferenceConfig()
    metrics: MetricsConfig = MetricsConfig()
    _warning: str = PrivateAttr("")

    @property
    def warning(self) -> str:
        """What people should know about the learning rate of this batch size, or nothing."""
        return self._warning

    def with_method(self) -> Recipe:
        """The recipe itself, or with the default method if it names none."""
        return self if self.method else self.model_copy(update={"method": [MethodSpec(name=DEFAULT_METHOD)]})

    def training(self) -> TrainingConfig:
        """The recipe's own training keys."""
        return TrainingConfig(**{key: getattr(self, key) for key in TrainingConfig.model_fields})

    def teacher_training(self) -> TrainingConfig:
        """The training keys for the teacher: the recipe's own under those of `teacher.train`."""
        merged = _over(self.training().model_dump(), self.teacher.train)
        try:
            return TrainingConfig.model_validate(merged)
        except ValidationError as error:
            raise RecipeError("\n".join(explain(error, TrainingConfig, "teacher.train"))) from error

    @model_serializer(mode="wrap")
    def _without_the_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        # Recipes of runs that know none of them stay the same.
        for key in ("inference", "metrics", "task_loss", "sync_bn", "auto_scale_lr", "compile"):
            if getattr(self, key) == type(self).model_fields[key].default:
                written.pop(key, None)
        return written

    @model_validator(mode="after")
    def _batch_divides(self) -> Recipe:
        if self.batch_size % self.grad_accumulation:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of grad_accumulation {self.grad_accumulation}"
            )
        return self

    @model_validator(mode="after")
    def _methods_begin(self) -> Recipe:
        for method in self.method:
            if method.schedule.start >= self.steps:
                raise ValueError(
                    f"'method.{method.name}.schedule.start': {method.schedule.start} is beyond the run's {self.steps} "
                    "steps, so the method would never count. Start it earlier, or leave the method out"
                )
        return self


def load_recipe(*parts: str | Path, **overrides: Any) -> Recipe:
    """A recipe from fragments and `key=value` strings, left to right, then keyword overrides; checked.

    A part is the name of a fragment or of a published row (`segdistill list recipes`), of a data set or of a method, a
    path to a .yaml file, or `key.sub=value`.
    """
    merged, origin = compose(*parts, **overrides)
    try:
        recipe = Recipe.model_validate(merged)
        recipe.teacher_training()
    except ValidationError as error:
        lines = map(name_new_key, explain(error, Recipe))
        raise RecipeError("\n".join(line + origin.of(line) for line in lines)) from error
    except RecipeError as error:
        lines = map(name_new_key, str(error).splitlines())
        raise RecipeError("\n".join(line + origin.of(line) for line in lines)) from error
    return _with_rate(recipe, origin)


def _with_rate(recipe: Recipe, origin: Origin) -> Recipe:
    """The recipe with the rate scaled for its batch if it asks for that, else with a warning that it is not."""
    tuned = origin.tuned_batch()
    if not tuned or tuned == recipe.batch_size:
        return recipe
    rate = recipe.optimizer.lr
    scaled = float(f"{rate * recipe.batch_size / tuned:.6g}")
    what = f"batch_size is {recipe.batch_size}, and the learning rate {rate:g} came with one of {tuned}"
    if not recipe.auto_scale_lr:
        recipe._warning = f"{what}. It is left as it is; auto_scale_lr=true would make it {scaled:g}."
        return recipe
    recipe = recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"lr": scaled})})
    recipe._warning = f"{what}. It is scaled to {scaled:g}."
    return recipe


def load_inference(*parts: str | Path) -> InferenceConfig:
    """The section `inference` of the parts, whatever else they hold; a recipe without it runs images whole."""
    merged, origin = compose(*parts)
    try:
        return InferenceConfig.model_validate(merged.get("inference") or {})
    except ValidationError as error:
        lines = explain(error, InferenceConfig, "inference")
        raise RecipeError("\n".join(line + origin.of(line) for line in lines)) from error


def _over(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    return {
        **base,
        **{
            key: _over(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
            for key, value in top.items()
        },
    }
