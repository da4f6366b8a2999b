"""The typed recipe: everything a run depends on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from segdistill.core.discovery import check_options, validated
from segdistill.core.errors import RecipeError
from segdistill.core.numbers import NonNegative
from segdistill.core.paths import HomePath
from segdistill.core.plugins import code_of, path_of
from segdistill.core.typed_settings import MAY_CHANGE, WRITTEN_IF_SET, TypedSettings
from segdistill.data import DatasetConfig
from segdistill.data.augment import Augment
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig
from segdistill.methods.base import Method, method_class
from segdistill.models.spec import Role
from segdistill.recipe.composition import compose
from segdistill.recipe.default_methods import default_methods
from segdistill.recipe.method_schedule import MethodSchedule
from segdistill.recipe.numpy_values import without_numpy
from segdistill.recipe.pretraining import PretrainConfig
from segdistill.recipe.rates import for_batch
from segdistill.recipe.renamed import name_new_key
from segdistill.recipe.teacher import Network, TeacherConfig
from segdistill.recipe.training import TrainingConfig


class MethodSpec(TypedSettings):
    """A distillation method, its options, which its own signature checks, and when it counts and how much."""

    model_config = ConfigDict(extra="allow")

    name: str
    """Which method it is: one of `segdistill list methods`, or package.module:Class."""

    schedule: Annotated[MethodSchedule, WRITTEN_IF_SET] = MethodSchedule()
    """When the method counts and how much; the default is in full from the first step to the last."""

    share: Annotated[NonNegative | Literal["auto"] | None, WRITTEN_IF_SET] = "auto"
    """The size of the gradient of all the method's terms as a share of the task loss's (`training/gradient_shares.py`);
    null leaves the terms at their weights, and "auto" takes the method's own share unless one of its weights is set, or
    as_published."""

    code: Annotated[str | None, WRITTEN_IF_SET] = None
    """The checksum of the code of a class that was handed in from a notebook or script; null for any other."""

    _class: type | None = PrivateAttr(None)

    def __init__(self, name: str | type[Method], **keys: Any) -> None:
        """A method and its options; name may be a class that derives from `Method`, as one of a notebook."""
        cls = name if isinstance(name, type) else None
        if cls is not None:
            name, keys = path_of(cls), {**keys, **code_of(cls)}
        super().__init__(**{"name": name, **without_numpy(keys)})
        self._class = cls  # a class of a notebook is found by its path while something holds it

    def share_of(self, method: Method | type[Method]) -> float | None:
        """How loud its terms are in all beside the task loss (see `training.gradient_shares`), or None for its weights.

        Args:
            method: Whose own share counts where the recipe sets no share, no weight, and not `as_published`.

        Returns:
            The share, or None.
        """
        if self.share != "auto":
            return self.share
        weighed = any(key.endswith("weight") or key in method.scales for key in self.options)
        return None if weighed or self.options.get("as_published") else method.share

    @property
    def options(self) -> dict[str, Any]:
        """The keys that the method's own signature defines."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _known(self) -> MethodSpec:
        check_options(method_class(self.name), self.options, f"method.{self.name}")
        return self


def _methods(value: Any) -> Any:
    """One name, one method or a list of either, as a list of methods."""
    items = value if isinstance(value, list | tuple) else [value]
    return [{"name": item} if isinstance(item, str | type) else item for item in items]


def _handed_in(methods: Any) -> Any:
    """Methods with a spec in the place of each class; all else as it is."""
    items = methods if isinstance(methods, list | tuple) else [methods]
    return [MethodSpec(item) if isinstance(item, type) else item for item in items]


def _plain(value: Any) -> Any:
    """A section as plain values but for what was handed in as an object."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    held = getattr(value, "__pydantic_private__", None) or {}
    if not isinstance(value, TypedSettings) or any(each is not None for each in held.values()):
        return value
    return {key: _plain(each) for key, each in value if key in value.model_fields_set}


class Recipe(TrainingConfig):
    """Everything a run depends on: data, networks, methods and, as keys of its own, those of `TrainingConfig`."""

    out: Annotated[HomePath | None, MAY_CHANGE] = None
    """The folder that the run writes; null is runs/<data>-<what is run>-seed<n>."""

    role: Role = "student"
    """Which of the two networks `train` trains, the "student" alone or the "teacher"; training keys of later words then
    count for the teacher, over `teacher.train` of its pair."""

    data: Annotated[DatasetConfig, BeforeValidator(DatasetConfig.of)]
    """The data set and its options; every recipe needs one."""

    augment: Augment = Augment()
    """How training images are scaled, cropped, flipped and recolored."""

    student: Network | None = None
    """What the student is made of: a name of the zoo or of another library, or a mapping with that or a backbone."""

    teacher: TeacherConfig = TeacherConfig()
    """The teacher, and how it is used."""

    method: Annotated[
        list[MethodSpec],
        BeforeValidator(_methods, json_schema_input_type=str | MethodSpec | list[str | MethodSpec]),
    ] = Field([])
    """What `distill` distils with, one method or several whose terms add up; without any it takes `bpkd` with a share
    of 2, and `canonical` if more than logits can be had of the teacher: of one network, not cached and no exported
    file."""

    baseline: str = "train"
    """The student alone that the distilled one is measured against: "train" it with the same data, steps and seed,
    "none", or the folder of an existing run."""

    pretrain: Annotated[PretrainConfig, WRITTEN_IF_SET] = PretrainConfig()
    """What `pretrain` lets the student's backbone imitate before it learns any classes."""

    inference: Annotated[InferenceConfig, WRITTEN_IF_SET] = InferenceConfig()
    """How images are run through a network that is scored or predicts; the default runs them whole."""

    metrics: Annotated[MetricsConfig, WRITTEN_IF_SET] = MetricsConfig()
    """What `evaluate` measures."""

    _warning: str = PrivateAttr("")

    @property
    def warning(self) -> str:
        """What people should know about the learning rate of this batch size, or nothing."""
        return self._warning

    def tree(self) -> dict[str, Any]:
        """The keys that are set, to be merged with other words: plain values, and objects that were handed in."""
        return {key: _plain(getattr(self, key)) for key in sorted(self.model_fields_set)}

    def with_method(self) -> Recipe:
        """The recipe itself, or with the default methods if it names none."""
        if self.method:
            return self
        return self.model_copy(update={"method": [MethodSpec(**entry) for entry in default_methods(self.teacher)]})

    def training(self) -> TrainingConfig:
        """The recipe's own training keys."""
        return TrainingConfig(**{key: getattr(self, key) for key in TrainingConfig.model_fields})

    def teacher_training(self) -> TrainingConfig:
        """The training keys for the teacher: the recipe's own under those of `teacher.train`.

        Raises:
            RecipeError: `teacher.train` holds an unknown key or a wrong value.
        """
        merged = _over(self.training().model_dump(), self.teacher.train)
        return validated(TrainingConfig, merged, "teacher.train")

    @model_validator(mode="after")
    def _batch_divides(self) -> Recipe:
        if self.batch_size % self.grad_accumulation:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of grad_accumulation {self.grad_accumulation}"
            )
        return self

    @model_validator(mode="after")
    def _methods_differ(self) -> Recipe:
        for place, method in enumerate(self.method):
            if method in self.method[:place]:
                raise ValueError(
                    f"'method': '{method.name}' is named twice with the same options, so its terms would count double. "
                    "Name it once; what it counts for is its weight or share"
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


def load_recipe(*parts: str | Path | Recipe, preset: str | Sequence[str] | None = (), **overrides: Any) -> Recipe:
    """A recipe from its parts, left to right, then keyword overrides; checked.

    Args:
        *parts: names of fragments or published rows (`segdistill list recipes`), of data sets or methods, paths of
            .yaml files, `key.sub=value`, or whole recipes.
        preset: further names of fragments, after the parts.
        **overrides: keys that come last, nested or as "key.sub"; networks, data sets and methods may be objects.

    Returns:
        The recipe.

    Raises:
        RecipeError: a part or key is unknown, a value has the wrong type, or keys do not fit together; the message says
            where each was set.
    """
    words = (*parts, *([preset] if isinstance(preset, str) else preset or ()))
    if len(words) == 1 and isinstance(words[0], Recipe) and not overrides:
        return words[0]
    trees = [word.tree() if isinstance(word, Recipe) else word for word in words]
    merged, origin = compose(*trees, **_sections(without_numpy(overrides)))
    try:
        recipe = validated(Recipe, merged)
        recipe.teacher_training()
    except RecipeError as error:
        lines = (name_new_key(_with_method_names(line, merged)) for line in str(error).splitlines())
        raise RecipeError("\n".join(line + origin.of(line) for line in lines)) from error
    optimizer, teacher, warning = for_batch(recipe, recipe.teacher, origin, trains_teacher=recipe.role == "teacher")
    if (optimizer, teacher) != (recipe.optimizer, recipe.teacher):
        recipe = recipe.model_copy(update={"optimizer": optimizer, "teacher": teacher})
    recipe._warning = warning
    return recipe


def _sections(keys: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments whose sections can be merged with those of other words."""
    written = {"data": DatasetConfig.of, "method": _handed_in}
    return {key: written[key](value) if key in written else value for key, value in keys.items()}


def _with_method_names(line: str, merged: dict[str, Any]) -> str:
    """A line of an error with the names of methods in the place of their numbers: 'method.kd.share', not 'method.0'."""
    methods = _methods(merged.get("method") or [])

    def name(match: re.Match[str]) -> str:
        place = int(match[1])
        method = methods[place] if place < len(methods) else None
        return f"'method.{method['name']}" if isinstance(method, dict) and "name" in method else match[0]

    return re.sub(r"'method\.(\d+)(?=[.'])", name, line)


def load_inference(*parts: str | Path | Recipe) -> InferenceConfig:
    """The section `inference` of the parts of a recipe, whatever else they hold.

    Args:
        *parts: as of `load_recipe`.

    Returns:
        The section; the default, which runs images whole, if the parts have none.

    Raises:
        RecipeError: a part is unknown, or the section holds an unknown key or a wrong value.
    """
    merged, origin = compose(*(part.tree() if isinstance(part, Recipe) else part for part in parts))
    try:
        return validated(InferenceConfig, merged.get("inference") or {}, "inference")
    except RecipeError as error:
        raise RecipeError("\n".join(line + origin.of(line) for line in str(error).splitlines())) from error


def _over(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    return base | {
        key: _over(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in top.items()
    }
