"""Which methods a study compares: read from names, specs, classes and recipe entries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from segdistill.core.discovery import validated
from segdistill.core.errors import RecipeError
from segdistill.core.plugins import is_import_path
from segdistill.core.safe_yaml import load_yaml
from segdistill.recipe.composition import compose
from segdistill.recipe.default_methods import default_methods
from segdistill.recipe.recipe import MethodSpec
from segdistill.recipe.teacher import TeacherConfig
from segdistill.studies.result import ALONE, LONGER, TEACHER

_LONGER_WORD = "longer"

Methods = str | type | MethodSpec | Sequence[str | type | MethodSpec] | Mapping[str, Any]
"""Which methods are compared; see `read_methods`."""


def read_methods(given: Methods, teacher: TeacherConfig | None = None) -> dict[str, list[MethodSpec]]:
    """Read which methods are compared.

    Args:
        given: Names with commas between, or a list of them: methods and fragments, "+" between several that add up, and
            LABEL={name: kd, temperature: 4} for one with options, or a list of such in brackets; "default" for those of
            a recipe that names none; specs and classes of methods, which are called by their own names; or a mapping of
            labels to any of these.
        teacher: Of the recipe, for its default methods; None is one that is trained here.

    Returns:
        Recipe entries by label; the student alone, "none", is in every study and needs no entry. "longer" is the
        student alone for as many minutes as the costliest method takes.

    Raises:
        RecipeError: There is no such method, or it can't be called so.
    """
    if isinstance(given, Mapping):
        entries = {label: value if isinstance(value, list) else [value] for label, value in given.items()}
    else:
        outside_braces = r",(?![^{]*})(?![^\[]*\])"
        words = re.split(outside_braces, given) if isinstance(given, str) else given
        words = list(words) if isinstance(words, list | tuple) else [words]
        entries = _by_label([_entry(word) for word in words if not isinstance(word, str) or word.strip()])
    methods: dict[str, list[MethodSpec]] = {}
    for label, specs in entries.items():
        if label in ("none", ALONE):
            continue
        if label in (_LONGER_WORD, LONGER):
            methods[LONGER] = []
            continue
        if not re.fullmatch(r"[\w.+-]+", label) or label in (TEACHER, "student-alone"):
            raise RecipeError(f"'{label}' can't label a method: its runs are called so. Use letters, digits, ._+-")
        methods[label] = [spec for value in specs for spec in _specs(label, value, teacher or TeacherConfig())]
    return methods


def _by_label(pairs: list[tuple[str, list[Any]]]) -> dict[str, list[Any]]:
    """The entries by label; the same entry may be named twice."""
    entries: dict[str, list[Any]] = {}
    for label, specs in pairs:
        if entries.setdefault(label, specs) != specs:
            raise RecipeError(
                f"methods: two entries are labelled '{label}'. Give one another label, as {label}2={{name: ...}}."
            )
    return entries


def _entry(word: Any) -> tuple[str, list[Any]]:
    if not isinstance(word, str):
        spec = MethodSpec(word) if isinstance(word, type) else word
        return str(getattr(spec, "name", spec)).rpartition(":")[2], [spec]
    if is_import_path(word):
        return word.rpartition(":")[2], [{"name": word}]
    label, separator, text = word.strip().partition("=")
    if not separator:
        return word, [] if word in ("none", _LONGER_WORD) else word.split("+")
    try:
        value = load_yaml(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"methods: {text!r} of '{label}' is not a recipe entry: {error}") from error
    return label, value if isinstance(value, list) else [value]


def _specs(label: str, value: Any, teacher: TeacherConfig) -> list[MethodSpec]:
    """A method's name, a fragment with methods, "default", or the entry itself."""
    entries = [value]
    if value == "default":
        entries = [*default_methods(teacher)]
    elif isinstance(value, str):
        entries = compose(value)[0].get("method") or []
        if not entries:
            raise RecipeError(
                f"methods: '{value}' is neither a method nor a fragment with one. See segdistill list methods."
            )
    named = ({"name": entry} if isinstance(entry, str | type) else entry for entry in entries)
    return [validated(MethodSpec, entry, f"method {label}") for entry in named]
