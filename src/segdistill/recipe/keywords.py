"""The keys of a recipe as typed keyword arguments of the public functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, get_args, get_type_hints

from torch import nn

from segdistill.core.precision import PrecisionKey
from segdistill.data import DatasetConfig
from segdistill.data.augment import Augment
from segdistill.data.live import Samples
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig
from segdistill.methods.base import Method
from segdistill.models.spec import NetworkSpec, Role
from segdistill.recipe.pretraining import PretrainConfig
from segdistill.recipe.recipe import MethodSpec, Recipe
from segdistill.recipe.teacher import TeacherConfig
from segdistill.recipe.training import OptimizerConfig, ScheduleConfig, TaskLossConfig

Word = str | Path | Recipe
"""A word of a recipe: a fragment, a file, a name, `key=value`, or a whole recipe."""

DataSource = str | DatasetConfig | Samples | tuple[Samples, Samples] | Mapping[str, Any]
"""The name of a data set, its keys, or the data set itself: any map-style one of (image, mask)."""

NetworkSource = str | Path | NetworkSpec | nn.Module | Mapping[str, Any]
"""The name of a network, its keys, or the network itself."""

TeacherSource = NetworkSource | TeacherConfig | Sequence[NetworkSource]
"""The name of a network to train, a run, a file, hf:FOLDER, a network itself, a list of them, or the teacher's keys."""

MethodSource = str | MethodSpec | type[Method] | Mapping[str, Any]
"""The name of a method, the name with its options, or the class itself."""


class RecipeKeys(TypedDict, total=False):
    """What may be given by keyword: the keys of a recipe, and `preset`. A test holds them to those of `Recipe`."""

    preset: str | Sequence[str] | None
    out: str | Path | None
    role: Role
    data: DataSource
    augment: Augment | Mapping[str, Any]
    student: NetworkSource
    teacher: TeacherSource
    method: MethodSource | Sequence[MethodSource]
    baseline: str
    pretrain: PretrainConfig | Mapping[str, Any]
    inference: InferenceConfig | Mapping[str, Any]
    metrics: MetricsConfig | Mapping[str, Any]
    seed: int
    steps: int
    batch_size: int
    grad_accumulation: int
    optimizer: OptimizerConfig | Mapping[str, Any]
    schedule: ScheduleConfig | Mapping[str, Any]
    task_loss: TaskLossConfig | Mapping[str, Any]
    class_balance: float
    clip_grad: float | None
    ema: float | None
    refit_images: int
    precision: PrecisionKey
    channels_last: bool
    compile: Literal["auto", True, False]
    workers: int
    validate_every: int | None
    validate_images: int | None
    checkpoint_every: int | None
    log_every: int
    log: str | list[str]
    log_images: int
    keep: Literal["last", "best"]
    on_nonfinite: Literal["stop", "skip", "back_off"]
    nonfinite_limit: int
    on_unreadable: Literal["stop", "skip"]
    unreadable_limit: float
    sync_bn: bool | None
    auto_scale_lr: bool


class EvaluationKeys(RecipeKeys, total=False):
    """What `evaluate` takes by keyword beside: keys of the section `metrics`, and where the data set is."""

    root: str | Path
    absent: Literal["nan", "zero"]
    ignore: str | int | Sequence[str | int]
    boundary: bool
    trimap_radii: Sequence[int]
    edge_radius: int
    boundary_ratio: float
    tolerance: float
    calibration: bool
    bins: int
    agreement: bool


Function = TypeVar("Function", bound=Callable[..., Any])


def takes_recipe_keys(function: Function) -> Function:
    """Show the recipe's keys one by one in the signature of a function that takes them as `**keys`.

    Type checkers read them from `Unpack[..]`; this is what a notebook completes and `help` prints.

    Args:
        function: With keyword arguments of its own, which come first, and `**keys`.

    Returns:
        The function itself.
    """
    signature = inspect.signature(function)
    keys_of = get_args(get_type_hints(function)["keys"])[0]
    others = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    keys = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
        for name, annotation in get_type_hints(keys_of).items()
        if name not in signature.parameters
    ]
    function.__signature__ = signature.replace(parameters=[*others, *keys])  # type: ignore[attr-defined]
    return function
