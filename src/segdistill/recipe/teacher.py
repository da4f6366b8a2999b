"""The keys that say who teaches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    model_validator,
)
from torch import nn

from segdistill.core.paths import HomePath
from segdistill.core.plugins import plugins
from segdistill.core.precision import Precision
from segdistill.core.typed_settings import MAY_CHANGE, WRITTEN_IF_SET, TypedSettings
from segdistill.models.catalog import ZOO
from segdistill.models.class_map import check_mapping
from segdistill.models.live import live_spec
from segdistill.models.spec import InputChannels, NetworkSpec
from segdistill.models.zoo import adapted_spec, resolve_spec


def _network(value: Any, info: ValidationInfo) -> Any:
    """A zoo name, or a mapping with a name or a backbone, as a checked `NetworkSpec`."""
    if isinstance(value, nn.Module):
        return live_spec(value)
    if isinstance(value, dict) and isinstance(value.get("name"), nn.Module):
        raise ValueError("a module is no name. Hand in the module itself, or segdistill.wrap(..) of it")
    options = {"name": value} if isinstance(value, str) else value
    where = "student" if info.field_name == "student" else "teacher.network"
    return resolve_spec(options, where) if isinstance(options, dict) else options


Network = Annotated[NetworkSpec, BeforeValidator(_network, json_schema_input_type=str | NetworkSpec)]


def _published(value: Any) -> Any:
    """A path as text; the name of a network of another library, or a mapping with one, as a checked `NetworkSpec`."""
    if isinstance(value, nn.Module):
        return live_spec(value, trained=True)
    if isinstance(value, str | Path):
        return adapted_spec(value, "teacher.weights") or str(value)
    return resolve_spec(value, "teacher.weights") if isinstance(value, dict) else value


def _weights(value: Any) -> Any:
    """One trained network, or several, each by itself or as a mapping with what is its own."""
    if isinstance(value, list | tuple):
        return [each if isinstance(each, dict) and "weights" in each else {"weights": each} for each in value]
    return _published(value)


def _class_map(value: Any) -> Any:
    """ "names", a file or a mapping; said in one line where pydantic would have one for each."""
    if isinstance(value, dict):
        return check_mapping(value, "teacher.class_map")
    if value is not None and not isinstance(value, str | Path):
        raise ValueError("expected 'names', a .yaml file or a mapping `teacher class: class of the data set`")
    return value


ClassMapSource = Annotated[
    Literal["names"] | HomePath | dict[str | int, str | int | None] | None,
    BeforeValidator(_class_map, json_schema_input_type=str | dict[str, str | int | None] | None),
]


def teacher_keys(value: Any) -> Any:
    """The keys of a teacher that is named or handed in by itself: one of the zoo is trained here, whatever was before.

    Args:
        value: A name, path, module, spec or list of them; what is none of these is left as it is.

    Returns:
        The keys of `TeacherConfig`.
    """
    if isinstance(value, str) and (value in ZOO or value in plugins("segdistill.models.catalog")):
        return {"network": value, "weights": None}
    is_source = isinstance(value, str | Path | NetworkSpec | nn.Module | list | tuple)
    return {"weights": value} if is_source else value


class TeacherMember(TypedSettings):
    """One of several trained teachers, whose mean of probabilities is what is distilled."""

    weights: Annotated[str | NetworkSpec, BeforeValidator(_published)]
    """The trained teacher: a run folder, a weight file, or the name of a trained network of another library."""

    class_map: Annotated[ClassMapSource, WRITTEN_IF_SET] = None
    """How its classes are read if they are not the data set's, as `teacher.class_map`."""

    channels: Annotated[InputChannels | None, WRITTEN_IF_SET] = None
    """Which channels of the images it sees, as `teacher.channels`."""

    input_scale: Annotated[float, WRITTEN_IF_SET] = Field(1.0, ge=0.125, le=8)
    """How many times the student's image size it sees the image at."""


class TeacherConfig(TypedSettings):
    """The teacher: trained here (`network`), or taken as it is (`weights`)."""

    network: Network | None = None
    """What the teacher is made of, to train it here: a name of the zoo or of another library, or a mapping with one or
    with a backbone; not needed where `weights` is set."""

    weights: Annotated[
        str | NetworkSpec | Annotated[tuple[TeacherMember, ...], Field(min_length=1)] | None,
        BeforeValidator(_weights, json_schema_input_type=str | NetworkSpec | list[str | TeacherMember] | None),
    ] = None
    """The trained teacher to take: a run folder, a weight file, or the name of a trained network of another library, as
    hf:FOLDER, with its own classes; null trains `network`. Of a list [a, b, ...] the mean of the probabilities teaches;
    an entry may be {weights: .., class_map: .., input_scale: ..}."""

    train: dict[str, Any] = Field({})
    """Training keys (steps, optimizer, ...) that differ from the recipe's own while the teacher is trained here."""

    class_map: ClassMapSource = None
    """How a teacher in `weights` that knows other classes is read: "names", a .yaml file or a mapping of `teacher
    class: class of the data set`; null takes the classes for the data set's if they have its names, or none and its
    number."""

    channels: Annotated[InputChannels | None, WRITTEN_IF_SET] = None
    """Which channels of the images the teacher sees, by their numbers from 0, as [0, 1, 2] for one of RGB beside a
    student of more (`data.channels`); null is all of them, or those that a trained one was trained on."""

    input_scale: float = Field(1.0, ge=0.125, le=8)
    """How many times the student's image size the teacher sees the image at."""

    check: Annotated[bool, WRITTEN_IF_SET, MAY_CHANGE] = True
    """Whether a teacher in `weights` is tried on a few validation images first, and refused if it only guesses."""

    precision: Annotated[Precision | None, WRITTEN_IF_SET] = None
    """What the teacher computes in and keeps its matrices and kernels in; null computes as the run does (where that is
    auto, as a trial of its own says), from weights in fp32."""

    shard: Annotated[bool, WRITTEN_IF_SET, MAY_CHANGE] = False
    """Whether several processes keep a part of a teacher in `weights` each (FSDP), for one too large for a device."""

    cache: Annotated[Literal["off", "logits"], WRITTEN_IF_SET] = "off"
    """Whether the teacher is asked in every step ("off") or once for each whole training image ("logits"), from which
    the student's crop is cut: an approximation that saves the teacher's part of a step (docs/speed.md)."""

    cache_scales: Annotated[
        tuple[Annotated[float, Field(ge=0.125, le=8)], ...], Field(min_length=1), WRITTEN_IF_SET
    ] = (1.0,)
    """The scales of the image whose probabilities are averaged in what `cache` keeps; paid once, not in every step."""

    cache_flip: Annotated[bool, WRITTEN_IF_SET] = False
    """Whether `cache` also averages over the mirror image."""

    cache_folder: Annotated[HomePath | None, WRITTEN_IF_SET, MAY_CHANGE] = None
    """The folder that keeps the logits of `cache` for several runs to share; null keeps them in the run folder."""

    @model_validator(mode="before")
    @classmethod
    def _by_itself(cls, value: Any) -> Any:
        return teacher_keys(value)

    @model_validator(mode="after")
    def _only_for_given_weights(self) -> TeacherConfig:
        if self.class_map is not None and self.weights is None:
            raise ValueError(
                "class_map is for a teacher that teacher.weights names; one that is trained here learns the data set's "
                "own classes. Set teacher.weights, or leave class_map out"
            )
        return self

    @model_validator(mode="after")
    def _of_each_by_itself(self) -> TeacherConfig:
        of_one = self.class_map is not None or self.channels is not None or self.input_scale != 1
        if isinstance(self.weights, tuple) and (of_one or self.shard):
            raise ValueError(
                "of several teachers each has its own class_map, channels and input_scale, and none is sharded. Write "
                "them as weights: [{weights: .., class_map: .., channels: .., input_scale: ..}, ..]"
            )
        return self

    @model_validator(mode="after")
    def _of_the_cache(self) -> TeacherConfig:
        if self.cache == "off" and (self.cache_scales != (1.0,) or self.cache_flip):
            raise ValueError("cache_scales and cache_flip say what is cached, and cache is off. Set cache: logits")
        return self

    @model_validator(mode="after")
    def _cached_by_one(self) -> TeacherConfig:
        if self.shard and self.cache != "off":
            raise ValueError(
                "shard keeps the teacher in parts, and cache asks the whole one in a single process: leave one of the "
                "two out"
            )
        return self
