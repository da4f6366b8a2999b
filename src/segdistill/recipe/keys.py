"""All keys of a recipe with what is known of each, read from the classes that define them."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from segdistill.core.discovery import classes_in, options_of
from segdistill.core.typed_settings import MAY_CHANGE
from segdistill.data import dataset_names
from segdistill.methods import method_names
from segdistill.models.heads import Head
from segdistill.recipe.key_types import described_default, described_type
from segdistill.recipe.recipe import MethodSpec, Recipe


@dataclass(frozen=True)
class Key:
    """A key of a recipe.

    Attributes:
        path: Dotted, as `optimizer.lr`; of an option with the name of what has it, as `method.kd.temperature`.
        type: What its value may be, with bounds.
        default: As YAML; "-" where it must be set.
        description: Whole sentences: what it does, its unit, what its default means.
        may_change: Whether a resumed run may have another value.
        defined_in: The class, and its file below the package.
        option_of: "data set folder", "method kd" or "head pspnet" for an option; "" for a key that every recipe has.
    """

    path: str
    type: str
    default: str
    description: str
    may_change: bool
    defined_in: str
    option_of: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@functools.cache
def recipe_keys() -> dict[str, Key]:
    """The keys that every recipe has, by their dotted path, sections before the keys below them."""
    return {key.path: key for key in _of_section(Recipe, "")}


@functools.cache
def option_keys() -> dict[str, Key]:
    """The options of data sets, methods and heads, as `data.folder.root`, `method.kd.temperature`, `head.fcn.convs`."""
    kinds: tuple[tuple[str, str, dict[str, type]], ...] = (
        ("data", "data set", dict(dataset_names())),
        ("method", "method", dict(method_names())),
        ("head", "head", dict(classes_in("segdistill.models.heads", Head))),
    )
    return {
        key.path: key
        for section, kind, classes in kinds
        for name, cls in classes.items()
        for key in _options(cls, f"{section}.{name}", f"{kind} {name}")
    }


@functools.cache
def changeable_keys() -> frozenset[str]:
    """The dotted paths of the keys that a resumed run may have other values of."""
    return frozenset(path for path, key in recipe_keys().items() if key.may_change)


def _of_section(section: type[BaseModel], prefix: str) -> Iterator[Key]:
    for name, field in section.model_fields.items():
        path = f"{prefix}{name}"
        yield _key(path, field, _owner(section, name))
        inner = section_of(field.annotation)
        if inner is not None:
            yield from _of_section(inner, f"{path}.")


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The class of settings that a key's value is, or may be, or is a list of.

    Args:
        annotation: The key's type.

    Returns:
        The class; None of a plain value, and of one that may be of several classes.
    """
    sections = {*_sections(annotation)}
    return sections.pop() if len(sections) == 1 else None


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in getattr(annotation, "__args__", ()):
        yield from _sections(each)


def _options(cls: type, prefix: str, option_of: str) -> Iterator[Key]:
    for name, field in options_of(cls).model_fields.items():
        if name != "split":
            yield _key(f"{prefix}.{name}", field, cls, option_of)


def _key(path: str, field: FieldInfo, owner: type, option_of: str = "") -> Key:
    return Key(
        path=path,
        type=described_type(field),
        default=described_default(field),
        description=" ".join((field.description or "").split()),
        may_change=MAY_CHANGE.on(field),
        defined_in=place_of(owner),
        option_of=option_of,
    )


def place_of(cls: type) -> str:
    """Where a class is defined, as "OptimizerConfig in recipe/training.py".

    Args:
        cls: A class of this library or of a plug-in, of which the module is named.
    """
    return f"{cls.__name__} in {file_of(cls)}"


def file_of(cls: type) -> str:
    """The file that a class is defined in.

    Args:
        cls: Of this library, or of a plug-in.

    Returns:
        The path below the package; of a plug-in its whole path, or the name of its module.
    """
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    package = resources.files("segdistill")
    if file is None or not isinstance(package, Path):
        return cls.__module__
    path = Path(file)
    return path.relative_to(package).as_posix() if path.is_relative_to(package) else str(path)


def _owner(section: type[BaseModel], name: str) -> type:
    """The class in whose body a key is written: `Recipe` has those of `TrainingConfig`."""
    return next(cls for cls in reversed(inspect.getmro(section)) if name in vars(cls).get("__annotations__", {}))


METHOD_KEYS = tuple(MethodSpec.model_fields)
"""The keys that every method has beside its own options."""
