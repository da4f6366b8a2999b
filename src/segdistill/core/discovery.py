"""Finding the classes of a package and the schema of their options, so that nobody keeps a table by hand."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, Field, ValidationError, create_model

from segdistill.core.errors import RecipeError, nearest
from segdistill.core.paths import expanded
from segdistill.core.plugins import is_import_path, outside_class, own_names, plugins, summaries
from segdistill.core.typed_settings import TypedSettings

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


def classes_in(package: str, base: type[T]) -> dict[str, type[T]]:
    """The subclasses that the modules of a package are named after (`bpkd.py` holds `BPKD`).

    Args:
        package: its dotted name.
        base: the class that they derive from.

    Returns:
        Module name -> class.
    """
    modules = {name: importlib.import_module(f"{package}.{name}") for name in own_names(package)}
    return {name: cls for name, module in modules.items() if (cls := _named_class(module, name, base)) is not None}


def _named_class(module: ModuleType, name: str, base: type[T]) -> type[T] | None:
    """The subclass of `base` that a module is named after; None if it holds none."""
    for member in vars(module).values():
        if isinstance(member, type) and member.__name__.lower() == name.replace("_", "") and issubclass(member, base):
            return member
    return None


def pick(package: str, base: type[T], name: str, what: str) -> type[T]:
    """The class of a name. Only the module that holds it is imported.

    Args:
        package: the dotted name of the package that is searched, as in `classes_in`.
        base: the class that it derives from.
        name: of its module, an import path `package.module:Class`, or a name that an installed package gives.
        what: such a class is called, for the message: "method", "data set".

    Returns:
        The class.

    Raises:
        RecipeError: there is none of that name; the message suggests the nearest.
    """
    names = summaries(package)
    path = name if is_import_path(name) else plugins(package).get(name)
    if path is not None and (path == name or name not in own_names(package)):
        return outside_class(path, base, what)
    cls = _named_class(importlib.import_module(f"{package}.{name}"), name, base) if name in names else None
    if cls is None:
        raise RecipeError(f"No {what} is called '{name}'.{nearest(name, names)}")
    return cls


@functools.cache
def options_of(cls: type) -> type[BaseModel]:
    """The keyword-only arguments of `cls` with types, defaults and descriptions, as a strict pydantic model.

    A class that passes further keywords on (`**options`) has its base class's arguments, too.

    Args:
        cls: with type hints on all of them; what its docstring says of them below `Args:` describes them.

    Returns:
        The model, which refuses other keys.
    """
    return create_model(f"{cls.__name__}Options", __base__=TypedSettings, **_keywords(cls))


def _keywords(cls: type) -> dict[str, Any]:
    """Name -> (type, field) of the keyword-only arguments, those of the base first that `**options` goes to."""
    initialise = cls.__init__  # type: ignore[misc]
    hints = get_type_hints(initialise, include_extras=True)
    parameters = inspect.signature(initialise).parameters
    passes_on = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    described = _described_arguments(cls)
    keywords = {
        name: (
            hints[name],
            Field(
                ... if parameter.default is inspect.Parameter.empty else parameter.default,
                description=described.get(name),
            ),
        )
        for name, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return {**(_keywords(cls.__bases__[0]) if passes_on else {}), **keywords}


def _described_arguments(cls: type) -> dict[str, str]:
    """Name -> what the class's docstring says of the argument below `Args:`, on one line."""
    section = re.search(r"^Args:\n((?:    .*\n?|\n)*)", inspect.getdoc(cls) or "", re.MULTILINE)
    entries = re.findall(r"^    \**(\w+): (.*(?:\n {5,}.*)*)", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def check_options(cls: type, options: dict[str, Any], where: str) -> dict[str, Any]:
    """The options of a class, their types made right and defaults filled in.

    Args:
        cls: whose keyword-only arguments they are.
        options: as a recipe has them.
        where: the key of the recipe that they stand below, for the message.

    Returns:
        All keyword arguments of the class.

    Raises:
        RecipeError: a name is unknown, a type or number is wrong, or an option without default is missing.
    """
    model = options_of(cls)
    checked = validated(model, options, where)
    return {name: _at_home(getattr(checked, name)) for name in model.model_fields}


def validated(model: type[M], values: Any, where: str = "") -> M:
    """What a user has set, checked and with the defaults filled in.

    Args:
        model: says which keys there are.
        values: as a recipe has them.
        where: the key that they stand below, for the message; "" for none.

    Returns:
        The checked values.

    Raises:
        RecipeError: a key is unknown or missing, or a value is wrong; a line for each.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RecipeError("\n".join(explain(error, model, where))) from error


def _at_home(value: Any) -> Any:
    """The value with `~` of its paths replaced, which no shell does within a word."""
    if isinstance(value, dict):
        return {key: _at_home(each) for key, each in value.items()}
    return expanded(value) if isinstance(value, Path) else value


def explain(error: ValidationError, model: type[BaseModel], where: str = "") -> list[str]:
    """What pydantic found wrong, in plain words.

    Args:
        error: of validating.
        model: that it was validated by.
        where: the key that all keys stand below; "" for none.

    Returns:
        A line for each fault, with the key, and the nearest one if it is unknown.
    """
    lines: dict[tuple[str, str], list[str]] = {}  # beginning and end -> a message for each type that a value may have
    for problem in error.errors():
        path = [part for part in map(str, problem["loc"]) if not _TYPE.fullmatch(part)]
        key = ".".join([where, *path] if where else path)
        if problem["type"] == "extra_forbidden":
            fields = _fields_at(model, path[:-1])
            lines[f"Unknown key '{key}'.{nearest(path[-1], fields)}", ""] = []
        elif problem["type"] == "missing":
            lines[f"Key '{key}' is missing.", ""] = []
        elif not key:  # several keys that don't fit together, which the message names
            lines[problem["msg"].removeprefix("Value error, ") + ".", ""] = []
        else:
            message = _PLAIN.get(problem["type"], problem["msg"]).removeprefix("Value error, ")
            messages = lines.setdefault((f"Key '{key}': ", f", found {shown(problem['input'])}."), [])
            messages.append(message.removeprefix("Input ") if messages else message)
    return [beginning + ", or ".join(messages) + end for (beginning, end), messages in lines.items()]


def shown(value: Any) -> str:
    """A value as a message shows it: plain ones as they are, and of objects only what they are.

    Args:
        value: What a user wrote or handed in.
    """
    if value is None or isinstance(value, str | bytes | int | float | complex | Path):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{shown(key)}: {shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        inner = ", ".join(map(shown, value)) + ("," if isinstance(value, tuple) and len(value) == 1 else "")
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, BaseModel) or type(value).__module__ in ("builtins", "datetime"):
        return repr(value)
    return f"an object of {type(value).__module__}.{type(value).__qualname__}"


_PLAIN = {
    "path_type": "Input should be a path",
    "float_parsing": "Input should be a number",
    "float_type": "Input should be a number",
    "int_parsing": "Input should be a whole number",
    "int_type": "Input should be a whole number",
    "int_from_float": "Input should be a whole number",
    "bool_parsing": "Input should be true or false",
    "bool_type": "Input should be true or false",
    "string_type": "Input should be text",
}
"""What pydantic says in a programmer's words, in plain ones."""

_TYPE = re.compile(
    r"str|int|float|bool|constrained-\w+|(list|dict|tuple|literal|union|nullable|lax-or-strict|json-or-python|function-\w+|is-.*)\[.*\]"
)
"""Parts of pydantic's path that are no keys: of a value with several types they name the one that it tried."""


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """The names of the fields of the model that `path` leads to."""
    for part in path:
        field = model.model_fields.get(part)
        if field is None:
            continue
        inner = next((t for t in _types(field.annotation) if issubclass(t, BaseModel)), None)
        model = inner or model
    return list(model.model_fields)


def _types(annotation: Any) -> list[type]:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return [annotation]
    return [t for argument in getattr(annotation, "__args__", ()) for t in _types(argument)]
