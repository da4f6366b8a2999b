"""From a teacher's classes to the data set's: many to one, some dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from segdistill.core.errors import RecipeError, nearest
from segdistill.core.safe_yaml import read_yaml
from segdistill.models.class_names import abbreviate, meanings, plain, spellings, unnamed

NEVER = -1e9
"""The score of a class that no teacher class maps to: finite, because resizing would turn -inf into NaN."""

Key = str | int
"""A class by name or index."""

_KEY = "teacher.class_map"


@dataclass(frozen=True)
class ClassMap:
    """Which class of the data set each class of a teacher counts as.

    Attributes:
        teacher: The names of the teacher's K_t classes.
        student: The names of the data set's K classes.
        targets: For each teacher class the index of its class in the data set, None if it is dropped.

    Called on logits z (N,K_t,h,w) it gives z' (N,K,h,w), in float32 at least:
      z'_k = log sum of exp z_c over the teacher's classes c with target k
    so softmax(z')_k is what the teacher gives to these classes together, as a share of what it gives to all classes
    that are not dropped. A dropped class's probability is lost, and where dropped classes hold nearly all of
    it, a pixel's small rest is stretched to one. A class that no teacher class maps to scores `NEVER`.
    """

    teacher: tuple[str, ...]
    student: tuple[str, ...]
    targets: tuple[int | None, ...]

    def __call__(self, logits: Tensor) -> Tensor:
        groups = [self.sources(target) for target in range(len(self.student))]
        order = torch.tensor([source for group in groups for source in group], device=logits.device)
        # Sorted by target once, every class's sources are a view; nothing larger than the logits is made.
        chosen = logits.to(torch.promote_types(logits.dtype, torch.float32))[:, order]
        merged = [_merge(scores) for scores in chosen.split([len(group) for group in groups], dim=1)]
        return torch.cat(merged, dim=1)

    def sources(self, target: int) -> list[int]:
        """The teacher classes that map to a class of the data set.

        Args:
            target: Its index.

        Returns:
            Their indices, ascending.
        """
        return [source for source, mapped in enumerate(self.targets) if mapped == target]

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the teacher's classes that map to none."""
        return tuple(name for name, target in zip(self.teacher, self.targets, strict=True) if target is None)

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Names of the data set's classes that no teacher class maps to: the teacher never predicts them."""
        return tuple(name for target, name in enumerate(self.student) if target not in self.targets)

    def describe(self) -> str:
        """The map in words: what is merged or renamed, what is dropped, what the teacher never predicts."""
        pairs = {name: [self.teacher[source] for source in self.sources(k)] for k, name in enumerate(self.student)}
        changed = [
            f"{name} <- {' + '.join(sources)}" for name, sources in pairs.items() if sources and sources != [name]
        ]
        covered = len(self.student) - len(self.uncovered)
        lines = [f"its {len(self.teacher)} classes are mapped to {covered} of the data set's {len(self.student)}"]
        lines += [f"other names: {abbreviate(changed)}"] if changed else []
        lines += [f"dropped: {abbreviate(self.dropped)}"] if self.dropped else []
        lines += [f"it never says: {abbreviate(self.uncovered)}"] if self.uncovered else []
        return "; ".join(lines)

    def mapping(self) -> dict[Key, Key | None]:
        """The map as a recipe holds it, every teacher class named; by index where a name is not unique."""
        sources = _labels(self.teacher)
        targets = _labels(self.student)
        return {
            source: None if target is None else targets[target]
            for source, target in zip(sources, self.targets, strict=True)
        }


def class_map(source: Any, teacher: Sequence[str], student: Sequence[str]) -> ClassMap:
    """The map that a recipe's `teacher.class_map` asks for.

    Args:
        source: "names", a .yaml or .json file, or a mapping, of `teacher class: class of the data set, or null to drop
            it`, each by name or index; teacher classes that a mapping leaves out are dropped. Names are compared
            without case, spaces, underscores and hyphens.
        teacher: The names of the teacher's classes.
        student: The names of the data set's classes.

    Raises:
        RecipeError: The source can't be read, names a class that is not there or fits several, or maps none.
    """
    if source == "names":
        targets = _by_name(tuple(teacher), tuple(student))
    elif isinstance(source, Mapping):
        targets = _by_mapping(check_mapping(source, _KEY), teacher, student, _KEY)
    else:
        targets = _by_mapping(_read(Path(source)), teacher, student, str(source))
    if all(target is None for target in targets):
        raise RecipeError(
            f"{_KEY}={source if not isinstance(source, Mapping) else '{..}'} maps no class of the teacher "
            f"({abbreviate(teacher)}) to one of the data set ({abbreviate(student)}). Write a file with lines "
            f"`teacher class: class of the data set`, and set {_KEY}=FILE."
        )
    return ClassMap(tuple(teacher), tuple(student), tuple(targets))


def check_mapping(source: Mapping[Any, Any], where: str) -> dict[Key, Key | None]:
    """A mapping of classes, its keys and values of the right types.

    Args:
        source: Teacher class -> class of the data set.
        where: The key or file it stands in, for errors.

    Returns:
        It, as a dictionary.

    Raises:
        RecipeError: A key is neither a name nor an index, or a value neither of these nor null.
    """
    for key, value in source.items():
        for entry, allowed in ((key, (str, int)), (value, (str, int, type(None)))):
            if not isinstance(entry, allowed) or isinstance(entry, bool):
                raise RecipeError(
                    f"'{where}': '{key}: {value}' holds {entry!r}; expected `teacher class: class of the data set`, "
                    "each a name or an index, or null to drop it. YAML reads yes, no, on and off as true and false: "
                    "put such names in quotes."
                )
    return dict(source)


def _merge(scores: Tensor) -> Tensor:
    """(N,m,h,w) -> (N,1,h,w): the score of m classes together."""
    if scores.shape[1] == 0:
        return scores.new_full((len(scores), 1, *scores.shape[2:]), NEVER)
    return scores if scores.shape[1] == 1 else scores.logsumexp(1, keepdim=True)


def _read(file: Path) -> dict[Key, Key | None]:
    try:
        tree = read_yaml(file)
    except OSError as error:
        raise RecipeError(f"'{_KEY}': can't read the file {file}: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"'{_KEY}': {file} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise RecipeError(
            f"'{_KEY}': {file} must hold lines `teacher class: class of the data set`, found {type(tree).__name__}."
        )
    return check_mapping(tree, str(file))


def _by_mapping(
    mapping: Mapping[Key, Key | None], teacher: Sequence[str], student: Sequence[str], where: str
) -> list[int | None]:
    targets: list[int | None] = [None] * len(teacher)
    first: dict[int, Key] = {}
    for key, value in mapping.items():
        source = _find(key, teacher, "the teacher", where)
        if source in first:
            raise RecipeError(
                f"'{where}' maps the teacher's class {source} ({teacher[source]}) twice, as {first[source]!r} and as "
                f"{key!r}. Keep one of the lines."
            )
        first[source] = key
        targets[source] = None if value is None else _find(value, student, "the data set", where)
    return targets


def _find(key: Key, names: Sequence[str], whose: str, where: str) -> int:
    """The index of the class that `key` means: a name, or an index as a number or its digits."""
    if isinstance(key, str):
        for fits in ([name == key for name in names], [plain(key) in spellings(name) for name in names]):
            indices = [index for index, fit in enumerate(fits) if fit]
            if len(indices) > 1:
                raise RecipeError(f"'{where}': {key!r} fits classes {indices} of {whose}. Write the index you mean.")
            if indices:
                return indices[0]
        if not key.isdecimal():
            raise RecipeError(f"'{where}': {whose} has no class {key!r}.{nearest(key, names)}")
    index = int(key)
    if not 0 <= index < len(names):
        raise RecipeError(
            f"'{where}': {whose} has no class {index}; its {len(names)} classes are 0 to {len(names) - 1}"
            + (", and null drops a teacher class." if whose == "the data set" else ".")
        )
    return index


def _by_name(teacher: tuple[str, ...], student: tuple[str, ...]) -> list[int | None]:
    """For each teacher class the one of its name; else of the same spelling, else of an alias, else None."""
    if unnamed(teacher):
        raise RecipeError(
            f"'{_KEY}': the teacher's {len(teacher)} classes have no names ({abbreviate(teacher[:3])}, ...), so they "
            f"can't be paired by name. Write a file with lines `index: class of the data set`, and set {_KEY}=FILE."
        )
    targets: list[int | None] = []
    for name in teacher:
        fits = [k for k, other in enumerate(student) if other == name]
        fits = fits or [k for k, other in enumerate(student) if spellings(name) & spellings(other)]
        fits = fits or [k for k, other in enumerate(student) if meanings(name) & meanings(other)]
        if len(fits) > 1:
            raise RecipeError(
                f"'{_KEY}': the teacher's class {name!r} could be {' or '.join(student[k] for k in fits)} of the data "
                f"set. Write a file with lines `teacher class: class of the data set`, and set {_KEY}=FILE."
            )
        targets.append(fits[0] if fits else None)
    return targets


def _labels(names: Sequence[str]) -> list[Key]:
    return [name if names.count(name) == 1 else index for index, name in enumerate(names)]
