"""`explain`: what a key, method, data set, network, fragment or published row is."""

from __future__ import annotations

import inspect
import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from segdistill.core.errors import RecipeError, nearest
from segdistill.data import dataset_names
from segdistill.methods import method_names
from segdistill.models.catalog import ZOO
from segdistill.recipe.keys import Key, file_of, option_keys, recipe_keys
from segdistill.recipe.published_rows import published_rows
from segdistill.recipe.training import TrainingConfig
from segdistill.recipe.words import KINDS, comments, library


@dataclass(frozen=True)
class Explanation:
    """What something is that a recipe can name.

    Attributes:
        name: As recipes say it.
        kind: "key", "method", "data set", "network", "row", or the kind of a fragment.
        text: Sentences.
        facts: Further lines, by what they say: type, default, bounds, source, file.
        options: The keys that it has, of a method or data set.
    """

    name: str
    kind: str
    text: str
    facts: dict[str, str]
    options: tuple[Key, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def explain(name: str) -> list[Explanation]:
    """Say what a name is that may stand in a recipe.

    Args:
        name: A key (`optimizer.lr`, `method.kd.temperature`, or the end of one, `lr`), a method, a data set, a network,
            a fragment or a published row; with its kind before a colon (`data:camvid`) where several are called so.

    Returns:
        What it is; several entries where a data set and its fragment have one name, or a key belongs to several things.

    Raises:
        RecipeError: Nothing is called so; the message suggests the nearest.
    """
    kind, colon, bare = name.partition(":")
    if colon and kind in KINDS:
        matches = [each for each in _things(bare) if each.kind in (kind, "data set" if kind == "data" else kind)]
    else:
        matches = [*_keys(name), *_things(name)] or _ends_of_keys(name)
    if not matches:
        names = {*recipe_keys(), *library(), *method_names(), *dataset_names(), *ZOO}
        raise RecipeError(f"Nothing in a recipe is called '{name}'.{nearest(name, names)}")
    return matches


def _keys(path: str) -> list[Explanation]:
    """The keys of that path: of every recipe, or options of data sets, methods and heads."""
    keys, options = recipe_keys(), option_keys()
    trained = path.removeprefix("teacher.train.")
    if trained != path and trained in keys and trained.partition(".")[0] in TrainingConfig.model_fields:
        return [_of_key(replace(keys[trained], path=path))]
    named = re.fullmatch(r"method\.(\w+)\.(schedule.*|share)", path)
    if named and named[1] in method_names() and f"method.{named[2]}" in keys:
        return [_of_key(replace(keys[f"method.{named[2]}"], path=path))]
    if path in keys or path in options:
        return [_of_key(keys.get(path) or options[path])]
    section, _, option = path.partition(".")
    return [_of_key(key) for key in options.values() if key.path.split(".")[0::2] == [section, option]]


def _ends_of_keys(end: str) -> list[Explanation]:
    return [_of_key(key) for path, key in recipe_keys().items() if path.endswith(f".{end}")]


def _of_key(key: Key) -> Explanation:
    resumed = "yes" if key.may_change else "no: it is part of what the run is"
    facts = {"type": key.type, "default": key.default, "a resumed run may change it": resumed}
    if key.option_of:
        facts["of"] = key.option_of
    return Explanation(key.path, "key", key.description, {**facts, "defined in": key.defined_in})


def _things(name: str) -> list[Explanation]:
    """Methods, data sets, networks, fragments and rows of that name."""
    matches = []
    if name in library():
        fragment = library()[name]
        facts = {"sets": fragment.text.strip(), "defined in": fragment.file}
        matches.append(Explanation(name, fragment.kind, comments(name), facts))
    if name in method_names():
        matches.append(_of_class(name, "method", method_names()[name]))
    if name in dataset_names():
        matches.append(_of_class(name, "data set", dataset_names()[name]))
    if name in ZOO:
        made_of = ", ".join(f"{key} {value}" for key, value in ZOO[name].items())
        matches.append(Explanation(name, "network", f"A network of {made_of}.", {"defined in": "models/catalog.py"}))
    if name in published_rows():
        row = published_rows()[name]
        facts = {"source": f"{row.paper}; {row.source}", "recipe": " ".join(row.words), "mIoU": f"{row.miou}"}
        matches.append(Explanation(name, "row", "A row of a published table.", facts))
    return matches


def _of_class(name: str, kind: str, cls: type) -> Explanation:
    """A method or data set, by its docstring and signature."""
    text = inspect.cleandoc(cls.__doc__ or "").partition("\nArgs:\n")[0].strip()
    source = re.search(r"Source: ((?:.|\n)*?)(?:\n\n|$)", text)
    facts = {"source": " ".join(source[1].split())} if source else {}
    prefix = f"{'method' if kind == 'method' else 'data'}.{name}."
    options = tuple(key for path, key in option_keys().items() if path.startswith(prefix))
    return Explanation(name, kind, text, {**facts, "defined in": file_of(cls)}, options)
