"""The typed recipe: everything a run depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from segdistill.composition import Origin, compose
from segdistill.core.discovery import check_options, explain
from segdistill.core.errors import RecipeError
from segdistill.core.precision import Precision
from segdistill.data import DatasetConfig
from segdistill.data.augment import Augment
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig
from segdistill.methods.base import method_class
from segdistill.models.class_map import check_mapping
from segdistill.models.files import Role
from segdistill.models.spec import NetworkSpec, is_adapted
from segdistill.models.zoo import resolve_spec
from segdistill.training.influence import MethodSchedule
from segdistill.training.schedule import OptimizerConfig, ScheduleConfig
from segdistill.training.task_loss import TaskLossConfig

DEFAULT_METHOD = "canonical"
"""What distils when a recipe names no method."""


def _network(value: Any, info: ValidationInfo) -> Any:
    """A zoo name, or a mapping with a name or a backbone, as a checked `NetworkSpec`."""
    options = {"name": value} if isinstance(value, str) else value
    where = "student" if info.field_name == "student" else "teacher.network"
    return resolve_spec(options, where) if isinstance(options, dict) else options


Network = Annotated[NetworkSpec, BeforeValidator(_network)]


def _published(value: Any) -> Any:
    """A path as text; the name of a network of another library, or a mapping with one, as a checked `NetworkSpec`."""
    if isinstance(value, str | Path):
        adapted = is_adapted(value) and not Path(value).exists()
        return resolve_spec({"name": str(value)}, "teacher.run") if adapted else str(value)
    return resolve_spec(value, "teacher.run") if isinstance(value, dict) else value


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


class TrainingConfig(BaseModel):
    """How a network is trained.

    steps: optimiser steps. batch_size: images a step over all processes and micro-batches. accumulate: micro-batches
    a step. clip_grad: largest gradient norm, null for no limit. validate_every, checkpoint_every: steps, null for a
    tenth of the run. keep: which weights the run hands over, the last or those of the best validation mIoU (the best
    is chosen on the validation images, so its score flatters). compile: whether networks are compiled (torch.compile)
    while they train; "auto" tries it at the start of a run and takes what is faster. workers: loader processes.
    task_loss: how the cross-entropy is taken. class_balance: exponent b of its class weights, share^-b; 0 is plain
    cross-entropy, 0.5 helps thin and rare classes.
    on_nonfinite: what a loss or gradient that is not finite does: "stop" the run, "skip" the step, or "back_off": skip
    it and halve the learning rate for the rest of the run. nonfinite_limit: steps that may be skipped in all; one more
    stops. on_unreadable: what a training sample that can't be read does: "stop" the run, or "skip": another one takes
    its place. unreadable_limit: share of the training samples that may be replaced, at least one; more stop.
    sync_bn: whether the batch norms of several processes (student's and methods') read the joint batch; null: on CUDA.
    auto_scale_lr: whether the rate that a fragment or published row brings is scaled linearly when batch_size is not
    the one that came with it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0)
    steps: int = Field(40_000, ge=1)
    batch_size: int = Field(8, ge=1)
    accumulate: int = Field(1, ge=1)
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    task_loss: TaskLossConfig = TaskLossConfig()
    class_balance: float = Field(0.0, ge=0, le=1)
    clip_grad: float | None = Field(None, gt=0)
    precision: Precision = "fp32"
    channels_last: bool = True
    compile: Literal["auto", True, False] = False
    workers: int = Field(2, ge=0)
    validate_every: int | None = Field(None, ge=1)
    checkpoint_every: int | None = Field(None, ge=1)
    log_every: int = Field(10, ge=1)
    keep: Literal["last", "best"] = "last"
    on_nonfinite: Literal["stop", "skip", "back_off"] = "stop"
    nonfinite_limit: int = Field(10, ge=1)
    on_unreadable: Literal["stop", "skip"] = "stop"
    unreadable_limit: float = Field(0.01, gt=0, le=1)
    sync_bn: bool | None = None
    auto_scale_lr: bool = False


def _class_map(value: Any) -> Any:
    """ "names", a file or a mapping; said in one line where pydantic would have one for each."""
    if isinstance(value, dict):
        return check_mapping(value, "teacher.class_map")
    if value is not None and not isinstance(value, str | Path):
        raise ValueError("expected 'names', a .yaml file or a mapping `teacher class: class of the data set`")
    return value


ClassMapSource = Annotated[
    Literal["names"] | Path | dict[str | int, str | int | None] | None, BeforeValidator(_class_map)
]


def _off(value: Any) -> Any:
    """YAML takes a bare `off` for false."""
    return "off" if value is False else value


class TeacherConfig(BaseModel):
    """The teacher. network: what it is, to train it here. run: what to take instead, a run folder, a weight file,
    or the name of a trained network of another library, such as hf:FOLDER, taken as it is with its own classes.

    train: training keys (steps, optimizer, ...) that differ from the recipe's own while the teacher is trained.
    class_map: for a teacher in `run` that knows other classes: "names", a .yaml file or a mapping of `teacher class:
    class of the data set`; see `models/class_map.py`. input_scale: the teacher sees the image at this many times its
    size. check: whether a teacher in `run` is tried on a few validation images first, and refused if it does no better
    than guessing. precision: what it computes in and keeps its matrices and kernels in; null: it computes as the run
    does, from weights in fp32. shard: whether several processes keep a part of a teacher in `run` each (FSDP), for
    one that does not fit on a device. cache: "logits" asks the teacher once for each whole training image and cuts
    the student's crop out of its logits, an approximation that saves its part of every step (docs/speed.md).
    cache_folder: where they are kept for other runs to share, null for the run folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Network | None = None
    run: Annotated[str | NetworkSpec | None, BeforeValidator(_published)] = None
    train: dict[str, Any] = {}
    class_map: ClassMapSource = None
    input_scale: float = Field(1.0, ge=0.125, le=8)
    check: bool = True
    precision: Precision | None = None
    shard: bool = False
    cache: Annotated[Literal["off", "logits"], BeforeValidator(_off)] = "off"
    cache_folder: Path | None = None

    @model_serializer(mode="wrap")
    def _without_the_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        # Recipes of runs that know none of them stay the same.
        for key in ("check", "precision", "shard", "cache", "cache_folder"):
            if getattr(self, key) == type(self).model_fields[key].default:
                written.pop(key, None)
        return written

    @model_validator(mode="after")
    def _only_for_a_run(self) -> TeacherConfig:
        if self.class_map is not None and self.run is None:
            raise ValueError(
                "class_map is for a teacher that teacher.run names; one that is trained here learns the data set's own "
                "classes. Set teacher.run, or leave class_map out"
            )
        return self

    @model_validator(mode="after")
    def _cached_by_one(self) -> TeacherConfig:
        if self.shard and self.cache != "off":
            raise ValueError(
                "shard keeps the teacher in parts, and cache asks the whole one in a single process: leave one of the "
                "two out"
            )
        return self


class Recipe(TrainingConfig):
    """A run. Data, networks, methods and, as keys of its own, the training of `TrainingConfig`.

    run: the folder it writes. role: which network `train` trains. method: what `distill` distils with, `canonical` if
    none is named. baseline: the student alone that the distilled one is measured against: "train" it with the same
    data, steps and seed, "none", or the path of an existing run.
    inference: how images are run through a network that is scored or predicts. metrics: what `evaluate` measures.
    """

    run: Path | None = None
    role: Role = "student"
    data: DatasetConfig
    augment: Augment = Augment()
    student: Network | None = None
    teacher: TeacherConfig = TeacherConfig()
    method: Annotated[list[MethodSpec], BeforeValidator(_methods)] = []
    baseline: str = "train"
    inference: InferenceConfig = InferenceConfig()
    metrics: MetricsConfig = MetricsConfig()
    _remark: str = PrivateAttr("")

    @property
    def remark(self) -> str:
        """What people should know about the learning rate of this batch size, or nothing."""
        return self._remark

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
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")
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
        raise RecipeError("\n".join(line + origin.of(line) for line in explain(error, Recipe))) from error
    except RecipeError as error:
        raise RecipeError("\n".join(line + origin.of(line) for line in str(error).splitlines())) from error
    return _with_rate(recipe, origin)


def _with_rate(recipe: Recipe, origin: Origin) -> Recipe:
    """The recipe with the rate scaled for its batch if it asks for that, else with a remark that it is not."""
    tuned = origin.tuned_batch()
    if not tuned or tuned == recipe.batch_size:
        return recipe
    rate = recipe.optimizer.lr
    scaled = float(f"{rate * recipe.batch_size / tuned:.6g}")
    what = f"batch_size is {recipe.batch_size}, and the learning rate {rate:g} came with one of {tuned}"
    if not recipe.auto_scale_lr:
        recipe._remark = f"{what}. It is left as it is; auto_scale_lr=true would make it {scaled:g}."
        return recipe
    recipe = recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"lr": scaled})})
    recipe._remark = f"{what}. It is scaled to {scaled:g}."
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
