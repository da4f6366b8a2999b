"""Where a data set lies: the folders that tell its root, and what a wrong root most likely should have been."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from segdistill.core.errors import DataError
from segdistill.data.pairs import names_in

_LOOKED_AT = 500  # folders below a wrong root that are searched for the right one
_DEPTH = 3


def require_root(root: Path, markers: Sequence[str], layout: str) -> Path:
    """Refuse a root that does not hold what a data set needs; say what is missing, or which folder nearby has it.

    Args:
        root: of the data set.
        markers: paths below it that must exist.
        layout: a sentence on what belongs in the root and where it comes from, for the message.

    Returns:
        `root`.

    Raises:
        DataError: it is no folder, or a marker is missing.
    """
    if not root.is_dir():
        raise DataError(f"No folder {root}. {layout}")
    absent = [marker for marker in markers if not (root / marker).exists()]
    if not absent:
        return root
    if len(absent) < len(markers):
        raise DataError(f"{root} holds {_others(markers, absent)} but no {absent[0]}. {layout}")
    nearby = next((folder for folder in _nearby(root) if all((folder / marker).exists() for marker in markers)), None)
    if nearby is not None:
        level = "high" if root in nearby.parents else "low"
        raise DataError(
            f"{root} holds no {absent[0]}: the root is too {level}, {nearby} has it. Set data.root={nearby}."
        )
    raise DataError(f"{root} holds no {absent[0]}. {layout}")


def stems(folder: Path, suffix: str) -> set[str]:
    """The names of a folder's files without their suffix.

    Args:
        folder: which may be missing.
        suffix: only files whose names end in it count.

    Returns:
        The names without it; files whose names begin with a dot are left out.
    """
    return {
        name.removesuffix(suffix) for name in names_in(folder) if name.endswith(suffix) and not name.startswith(".")
    }


def _others(markers: Sequence[str], absent: Sequence[str]) -> str:
    return " and ".join(marker for marker in markers if marker not in absent)


def _nearby(root: Path) -> Iterator[Path]:
    """The folders above `root`, nearest first, then those below it, level by level."""
    yield from islice(root.absolute().parents, _DEPTH)
    yield from islice(_below(root), _LOOKED_AT)


def _below(root: Path) -> Iterator[Path]:
    level = [root]
    for _ in range(_DEPTH):
        level = [Path(entry.path) for folder in level[:_LOOKED_AT] for entry in _subfolders(folder)]
        yield from level


def _subfolders(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            # A folder of a hundred thousand images is no place to look for a data set.
            first = islice(entries, 5000)
            return sorted((entry for entry in first if entry.is_dir()), key=lambda entry: entry.name)
    except PermissionError:
        return []
