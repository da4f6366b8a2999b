"""`recipe`: what the words of a recipe are, what they make together, and what set each key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.core.errors import RecipeError
from segdistill.recipe.composition import compose
from segdistill.recipe.default_methods import default_methods
from segdistill.recipe.keys import recipe_keys
from segdistill.recipe.merging import Origin
from segdistill.recipe.recipe import Recipe, load_recipe
from segdistill.recipe.words import Word
from segdistill.training.teacher_length import shorter_than_student


@dataclass(frozen=True)
class SetKey:
    """A key of a recipe with its value.

    Attributes:
        path: Dotted.
        value: As plain values.
        origin: What set it; "the default" where nothing did.
        replaced: What had set it before.
    """

    path: str
    value: Any
    origin: str
    replaced: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecipeParts:
    """A recipe taken apart.

    Attributes:
        words: What each word is; those of a published row stand behind it.
        keys: Everything that is set, then all other keys with their defaults.
        warnings: What people should know before they run it.
        problems: Why it can't run; nothing if it can.
    """

    words: tuple[Word, ...]
    keys: tuple[SetKey, ...]
    warnings: tuple[str, ...]
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "words": [{"word": word.text, "kind": word.kind, "file": word.file} for word in self.words],
            "keys": {
                key.path: {"value": key.value, "origin": key.origin, "replaced": key.replaced} for key in self.keys
            },
            "warnings": list(self.warnings),
            "problems": list(self.problems),
        }


def recipe(*parts: str | Path, **overrides: Any) -> RecipeParts:
    """What the words of a recipe are, and what they make together; nothing is opened or run.

    Args:
        *parts: As for `load_recipe`.
        **overrides: Keys that come last.

    Returns:
        The words, all keys with what set them, and what is wrong with the recipe.

    Raises:
        RecipeError: A word names nothing, or several things.
    """
    merged, origin = compose(*parts, **overrides)
    try:
        checked = load_recipe(*parts, **overrides)
    except RecipeError as error:
        return RecipeParts(tuple(origin.words), tuple(_set(merged, "", origin)), (), tuple(str(error).splitlines()))
    keys = [*_set(merged, "", origin), *_defaults(checked, origin)]
    return RecipeParts(tuple(origin.words), tuple(keys), tuple(_warnings(checked)), ())


def _set(tree: dict[str, Any], prefix: str, origin: Origin) -> list[SetKey]:
    """The keys that words have set, one for each value that is no mapping."""
    keys: list[SetKey] = []
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value and _is_section(path):
            keys += _set(value, f"{path}.", origin)
        else:
            source = origin.sources.get(path, origin.sources.get(prefix.rstrip("."), ""))
            keys.append(SetKey(path, value, source, tuple(origin.replaced.get(path, ()))))
    return keys


def _is_section(path: str) -> bool:
    return (
        path == "teacher.train"
        or path.startswith("teacher.train.")
        or any(key.startswith(f"{path}.") for key in recipe_keys())
    )


def _defaults(checked: Recipe, origin: Origin) -> list[SetKey]:
    """The keys that nothing has set."""
    values = checked.model_dump(mode="json")
    keys = []
    for path, key in recipe_keys().items():
        inside = any(each.startswith(f"{path}.") for each in recipe_keys())
        parents = [path[:place] for place, letter in enumerate(path) if letter == "."]
        if inside or path in origin.sources or path.startswith(("method.", "student.", "teacher.network.")):
            continue
        node: Any = values
        for part in path.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if any(parent in origin.sources for parent in parents) or key.default != "-":
            keys.append(SetKey(path, key.default if node is None else node, "the default"))
    return keys


def _warnings(checked: Recipe) -> list[str]:
    warnings = [checked.warning] if checked.warning else []
    if checked.role == "teacher":
        if checked.teacher.network is None:
            warnings.append("No teacher is named: train needs one, by a pair such as mobile_pair, or teacher.network=.")
        return warnings
    if not checked.method:
        names = " and ".join(each["name"] for each in default_methods(checked.teacher))
        warnings.append(f"No method is named: distill takes {names}.")
    if checked.student is None:
        warnings.append("No student is named: train and distill need one, by a pair such as mobile_pair, or student=.")
    elif checked.teacher.weights is None and checked.teacher.network is None:
        warnings.append("No teacher is named: distill needs one, by a pair, teacher.weights= or teacher.network=.")
    elif checked.teacher.weights is None and (note := shorter_than_student(checked, None)):
        warnings.append(f"The teacher: {note}")
    return warnings
