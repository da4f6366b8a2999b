"""What comes from outside of the package: classes by import path, and the plain names that installed packages give."""

from __future__ import annotations

import ast
import importlib
import sys
import zlib
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from segdistill.core.errors import RecipeError, nearest

T = TypeVar("T")

GROUPS = {
    "segdistill.methods": "segdistill.methods",
    "segdistill.data.datasets": "segdistill.datasets",
    "segdistill.models.catalog": "segdistill.networks",
}
"""Where the names of a kind of thing are defined here -> the group of entry points that adds names to them."""

_SESSION: WeakValueDictionary[str, Any] = WeakValueDictionary()
"""Import path -> a class that was handed in and can't be imported, as one defined in a function; while it lives."""


def is_import_path(name: object) -> bool:
    """Whether a name is an import path, `package.module:Class`.

    Args:
        name: What a recipe names.
    """
    module, colon, attribute = str(name).partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), attribute])


def plugins(package: str) -> dict[str, str]:
    """The names that installed packages add to those of a package of this library, by entry points.

    Args:
        package: A key of `GROUPS`; any other has no plug-ins.

    Returns:
        Name -> import path.
    """
    return _entry_points(GROUPS[package], tuple(sys.path)) if package in GROUPS else {}


@cache
def _entry_points(group: str, paths: tuple[str, ...]) -> dict[str, str]:
    return {entry.name: entry.value for entry in metadata.entry_points(group=group)}


def path_of(cls: type) -> str:
    """The import path of a class that was handed in, by which `outside_class` gives it back while it lives.

    Args:
        cls: Any class, also one of a notebook or a function.

    Returns:
        `package.module:Class`. Another process can import it unless the class is of `__main__` or of a function.
    """
    path = f"{cls.__module__}:{cls.__qualname__}"
    if cls.__module__ == "__main__" or "<locals>" in path:
        path = path.replace("<locals>.", "").rpartition(":")[0] + f":{cls.__name__}"
        _SESSION[path] = cls
    return path


def code_of(cls: type) -> dict[str, str]:
    """A checksum of the code of a class that another process can't import, so that a changed one is another method.

    Args:
        cls: That was handed in.

    Returns:
        {"code": checksum}; nothing for a class of a module, whose code is the package's matter.
    """
    if path_of(cls) not in _SESSION:
        return {}
    functions = [member for _, member in sorted(vars(cls).items()) if isinstance(member, FunctionType)]
    parts = [(_compiled(each.__code__), each.__defaults__, each.__kwdefaults__) for each in functions]
    return {"code": f"{zlib.crc32(repr(parts).encode()):08x}"}


def _compiled(code: CodeType) -> tuple[Any, ...]:
    inner = [_compiled(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return code.co_code, code.co_names, inner


def outside_class(path: str, base: type[T], what: str) -> type[T]:
    """The class of an import path.

    Args:
        path: `package.module:Class`.
        base: What it must derive from.
        what: Such a class is called, for the message: "method", "data set".

    Returns:
        The class.

    Raises:
        RecipeError: It can't be imported, or is not of that kind.
    """
    module_name, _, attribute = path.partition(":")
    target = _SESSION.get(path)
    if target is None and module_name == "__main__":
        target = getattr(sys.modules["__main__"], attribute, None)
        if target is None:
            raise RecipeError(
                f"The {what} '{path}' was a class of a notebook or script, which another process can't read back. Go "
                "on from there, or put the class in a module and name it as package.module:Class."
            )
    if target is None:
        members = vars(_module(module_name, path))
        target = members.get(attribute)
        if target is None:
            raise RecipeError(f"Module '{module_name}' has no '{attribute}'.{nearest(attribute, members)}")
    if not (isinstance(target, type) and issubclass(target, base)):
        raise RecipeError(f"'{path}' is not a {what}: it must be a class that derives from segdistill.{base.__name__}.")
    return target


def _module(name: str, path: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RecipeError(
            f"Can't import '{name}' of '{path}': {error}. Is it installed, or its folder in PYTHONPATH?"
        ) from error


def summaries(package: str) -> dict[str, str]:
    """The names of a kind of thing with a sentence on each, read from the text of its modules: nothing is imported.

    Args:
        package: Whose modules are named after a class that each holds, as `bpkd.py` after `BPKD`.

    Returns:
        Name -> the first line of the class's docstring, those that installed packages add first.
    """
    return {**plugin_summaries(package), **_own_summaries(package)}


def own_names(package: str) -> list[str]:
    """The names of a kind of thing that come with this library; nothing is imported.

    Args:
        package: As for `summaries`.
    """
    return list(_own_summaries(package))


@cache
def _own_summaries(package: str) -> dict[str, str]:
    root = Path(__file__).parents[1].joinpath(*package.split(".")[1:])
    lines = ((file.stem, _summary(file, file.stem.replace("_", ""))) for file in sorted(root.glob("*.py")))
    return {name: line for name, line in lines if line is not None}


def plugin_summaries(package: str) -> dict[str, str]:
    """The names that installed packages add, with a sentence on each.

    Args:
        package: A key of `GROUPS`.

    Returns:
        Name -> the first line of the docstring, and the import path.
    """
    described = {}
    for name, path in plugins(package).items():
        module, _, attribute = path.partition(":")
        spec = find_spec(module)
        line = _summary(Path(spec.origin), attribute.lower()) if spec is not None and spec.origin else None
        described[name] = f"{line or ''} ({path})".strip()
    return described


def _summary(file: Path, name: str) -> str | None:
    """The first line of the docstring of the class or function of that name, in lower case; None if there is none.

    Behind it comes the paragraph that begins with "Good for", if it has one.
    """
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name.lower() == name:
            text = ast.get_docstring(node) or ""
            good_for = [part for part in text.split("\n\n") if part.startswith("Good for ")]
            return " ".join([text.partition("\n")[0], *good_for]).replace("\n", " ")
    return None
