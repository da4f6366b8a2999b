"""Names for what is made of files: never the same for two of them, and never that of a file that is read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from segdistill.core.errors import DataError
from segdistill.core.paths import composed


def output_names(files: Mapping[Path, PurePosixPath]) -> dict[Path, PurePosixPath]:
    """A name without suffix for what is made of each file.

    It is the file's own path below the folder that was given; where two would have the same, also where case or the
    spelling of accents does not count, the suffix goes behind it, then the folder in front, then a number.

    Args:
        files: file -> its path below the folder that was given, or its name.

    Returns:
        File -> name, in the order of `files`; all differ.
    """
    groups: dict[str, list[Path]] = {}
    for file, below in files.items():
        groups.setdefault(_key(below.with_suffix("")), []).append(file)
    names = {group[0]: files[group[0]].with_suffix("") for group in groups.values() if len(group) == 1}
    used = {*map(_key, names.values())}
    for group in groups.values():
        if len(group) == 1:
            continue
        for number in range(len(files) + 2):
            tried = [_longer(files[file], file, number, place) for place, file in enumerate(group, 1)]
            keys = {*map(_key, tried)}
            if len(keys) == len(group) and not keys & used:
                break
        names.update(zip(group, tried, strict=True))
        used |= keys
    return {file: names[file] for file in files}


def _longer(below: PurePosixPath, file: Path, number: int, place: int) -> PurePosixPath:
    """A longer name: with the suffix, then with the folder in front, then with a number behind it."""
    folder = f"{file.parent.name}-" if number == 1 and file.parent.name else ""
    end = f"-{place + number - 2}" if number > 1 else ""
    return below.with_name(f"{folder}{below.stem}-{below.suffix[1:]}{end}")


def refuse_overwriting(made: Iterable[Path], read: Sequence[Path]) -> None:
    """Refuse to write over what is read in the same call.

    Args:
        made: files that will be written.
        read: files that are read.

    Raises:
        DataError: one is both.
    """
    inputs = {os.path.realpath(path) for path in read}
    for path in made:
        if os.path.realpath(path) in inputs:
            raise DataError(
                f"{path} would be written over, and it is one of the inputs. Choose another folder with out."
            )


def _key(name: PurePosixPath) -> str:
    return composed(str(name)).casefold()
