"""Paths as people write them: `~`, and accents that systems spell in two ways."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator

PathLike = TypeVar("PathLike", str, Path)


def expanded(path: PathLike) -> PathLike:
    """A path with `~` replaced by the home folder, which the shell leaves alone in `data.root=~/x`.

    Args:
        path: text or path.

    Returns:
        The same, of the same type; a home that is not known is left as it is.
    """
    if not str(path).startswith("~"):
        return path
    try:
        return type(path)(Path(path).expanduser())
    except RuntimeError:
        return path


def _as_text(value: Any) -> Any:
    """A folder that is called 20240101, which YAML reads as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


HomePath = Annotated[Path, BeforeValidator(_as_text), AfterValidator(expanded)]
"""A path of a recipe, in which `~` is the home folder."""


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


HomePaths = Annotated[tuple[HomePath, ...], BeforeValidator(_one_or_more, json_schema_input_type=str | list[str])]
"""Paths of a recipe; a single one need not be a list."""


def composed(text: str) -> str:
    """A name with each accent in its letter (NFC): macOS writes them as two characters (NFD), other systems as one.

    Args:
        text: of a name or path.

    Returns:
        The form to compare names in.
    """
    return unicodedata.normalize("NFC", text)


def as_spelled(path: Path) -> Path:
    """The path as it lies on the disk, if only its accents are written otherwise.

    Args:
        path: that may exist.

    Returns:
        The first of its forms that exists, else the path itself.
    """
    forms = (path, *(Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD")))
    return next((form for form in forms if form.exists()), path)
