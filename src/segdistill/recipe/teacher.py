"""The keys that say who teaches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from segdistill.core.precision import Precision
from segdistill.models.class_map import check_mapping
from segdistill.models.spec import NetworkSpec
from segdistill.models.zoo import adapted_spec, resolve_spec


def _network(value: Any, info: ValidationInfo) -> Any:
    """A zoo name, or a mapping with a name or a backbone, as a checked `NetworkSpec`."""
    options = {"name": value} if isinstance(value, str) else value
    where = "student" if info.field_name == "student" else "teacher.network"
    return resolve_spec(options, where) if isinstance(options, dict) else options


Network = Annotated[NetworkSpec, BeforeValidator(_network)]


def _published(value: Any) -> Any:
    """A path as text; the name of a network of another library, or a mapping with one, as a checked `NetworkSpec`."""
    if isinstance(value, str | Path):
        return adapted_spec(value, "teacher.weights") or str(value)
    return resolve_spec(value, "teacher.weights") if isinstance(value, dict) else value


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
    """The teacher.

    network: what it is, to train it here.
    weights: what to take instead: a run folder, a weight file, or the name of a trained network of another library,
        such as hf:FOLDER, taken as it is with its own classes.
    train: training keys (steps, optimizer, ...) that differ from the recipe's own while the teacher is trained.
    class_map: for a teacher in `weights` that knows other classes: "names", a .yaml file or a mapping of
        `teacher class: class of the data set`; see `models/class_map.py`.
    input_scale: the teacher sees the image at this many times its size.
    check: whether a teacher in `weights` is tried on a few validation images first, and refused if it does no better
        than guessing.
    precision: what it computes in and keeps its matrices and kernels in; null: it computes as the run does, from
        weights in fp32.
    shard: whether several processes keep a part of a teacher in `weights` each (FSDP), for one that does not fit on a
        device.
    cache: "logits" asks the teacher once for each whole training image and cuts the student's crop out of its logits,
        an approximation that saves its part of every step (docs/speed.md).
    cache_folder: where they are kept for other runs to share, null for the run folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Network | None = None
    weights: Annotated[str | NetworkSpec | None, BeforeValidator(_published)] = None
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
    def _only_for_given_weights(self) -> TeacherConfig:
        if self.class_map is not None and self.weights is None:
            raise ValueError(
                "class_map is for a teacher that teacher.weights names; one that is trained here learns the data set's "
                "own classes. Set teacher.weights, or leave class_map out"
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
