"""How names of classes are compared: without case and separators, by their parts, by what they mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import resources

import yaml

_SHOWN = 12


def same_names(teacher: Sequence[str], student: Sequence[str]) -> bool:
    """Whether two lists have the same classes in the same order, however they are spelt.

    Args:
        teacher: Names.
        student: Names.
    """
    return [plain(name) for name in teacher] == [plain(name) for name in student]


def same_set(teacher: Sequence[str], student: Sequence[str]) -> bool:
    """Whether two lists have the same classes in any order, however they are spelt.

    Args:
        teacher: Names.
        student: Names.
    """
    return sorted(map(plain, teacher)) == sorted(map(plain, student))


def unnamed(names: Sequence[str]) -> bool:
    """Whether names are only numbers: "class 0", "LABEL_0" and the like, as files without names give.

    Args:
        names: Of all classes, in order.

    Returns:
        Whether each is the number of its place.
    """
    return all(re.fullmatch(rf"(class|label)?0*{index}", plain(name)) for index, name in enumerate(names))


def abbreviate(names: Sequence[str]) -> str:
    """Names for a message.

    Args:
        names: All of them.

    Returns:
        The first twelve, and how many there are if that is more.
    """
    more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def plain(name: str) -> str:
    """A name without case, spaces, underscores and hyphens.

    Args:
        name: Of a class.
    """
    return re.sub(r"[\s_-]+", "", name).casefold()


def spellings(name: str) -> frozenset[str]:
    """The plain name and, as ADE20K lists synonyms in one name ("road, route"), those of its parts.

    Args:
        name: Of a class.

    Returns:
        Plain names, none of them empty.
    """
    return frozenset(plain(part) for part in (name, *re.split("[,;]", name))) - {""}


def meanings(name: str) -> frozenset[int]:
    """Which groups of aliases.yaml, whose names mean one class, a name belongs to.

    Args:
        name: Of a class.

    Returns:
        Numbers of groups; none if no spelling of the name is there.
    """
    return frozenset(group for group, names in enumerate(_aliases()) if names & spellings(name))


@cache
def _aliases() -> tuple[frozenset[str], ...]:
    text = resources.files("segdistill.models").joinpath("aliases.yaml").read_text(encoding="utf-8")
    return tuple(frozenset(map(plain, group)) for group in yaml.safe_load(text)["aliases"])
