"""What a key's value may be, in words: made from its type, so that nobody writes it twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from segdistill.core.numbers import as_size

_PLAIN: dict[Any, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path", NoneType: "null",
    Any: "any value",
}  # fmt: skip
_BOUNDS = ((Ge, "ge", "at least"), (Gt, "gt", "above"), (Le, "le", "at most"), (Lt, "lt", "below"))


def described_type(field: FieldInfo) -> str:
    """What the value of a key may be, as "a whole number, at least 1, or null".

    Args:
        field: Of the key.

    Returns:
        A phrase.
    """
    return _described(field.annotation, tuple(field.metadata))


def described_default(field: FieldInfo) -> str:
    """The default of a key as YAML has it; "-" of one that must be set.

    Args:
        field: Of the key.

    Returns:
        As "0.01", "null" or "512x512"; of a section a phrase.
    """
    if field.is_required():
        return "-"
    if any(_is_size(each) for each in _all_metadata(field.annotation, field.metadata)) and field.default is not None:
        return "x".join(map(str, field.default))
    return _value(field.default)


def _all_metadata(annotation: Any, metadata: Sequence[Any]) -> Iterator[Any]:
    """What is written beside a type, and inside of it where it may be one of several."""
    yield from metadata
    for each in getattr(annotation, "__args__", ()):
        yield from _all_metadata(each, getattr(each, "__metadata__", ()))


def _is_size(each: Any) -> bool:
    return isinstance(each, BeforeValidator) and each.func is as_size


def _value(value: Any) -> str:
    """A value as a recipe would have it."""
    if isinstance(value, BaseModel):
        return "the defaults of its keys"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return {"": "''", "{}": "{}"}.get(str(value), str(value))


def _described(annotation: Any, metadata: tuple[Any, ...]) -> str:
    if any(map(_is_size, metadata)):
        return "HEIGHTxWIDTH in pixels"
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _described(inner, (*more, *metadata))
    if get_origin(annotation) in (Union, UnionType):
        return _either([_described(each, () if each is NoneType else metadata) for each in get_args(annotation)])
    bounds = _bounds(metadata)
    return _bare(annotation) + (f", {' and '.join(bounds)}" if bounds else "")


def _bare(annotation: Any) -> str:
    """The type without its bounds."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _either([_value(each) for each in arguments])
    if origin is tuple and arguments[-1] is not ...:
        return f"a list of {len(arguments)}, each {_described(arguments[0], ())}"
    if origin in (tuple, list):
        return f"a list, each {_described(arguments[0], ())}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a mapping of the keys below it"
    return _PLAIN.get(annotation, str(annotation))


def _bounds(metadata: tuple[Any, ...]) -> list[str]:
    phrases = []
    for each in metadata:
        inside = each.metadata if isinstance(each, FieldInfo) else (each,)
        for one in inside:
            phrases += [f"{word} {getattr(one, name):g}" for kind, name, word in _BOUNDS if isinstance(one, kind)]
            phrases += [f"{one.min_length} or more" for _ in range(isinstance(one, MinLen))]
    return phrases


def _either(words: list[str]) -> str:
    words = list(dict.fromkeys(words))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
