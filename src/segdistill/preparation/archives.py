"""Unpacking published archives: zip and tar, nothing outside the folder, each file complete or absent."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from segdistill.core.errors import DataError
from segdistill.runtime.display import Display

_BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)
_LITTER = ("__MACOSX", ".DS_Store")


@dataclass(frozen=True)
class Archive:
    """Where the files of an archive go.

    Attributes:
        pattern: that the archive's name fits, with * for anything.
        below: only what lies below this folder of the archive is taken, without the folder in its name.
        into: the folder below the root that it goes to.
    """

    pattern: str
    below: str = ""
    into: str = ""


@dataclass(frozen=True)
class Unpacked:
    """What an archive gave.

    Attributes:
        files: the files that it holds for this data set.
        written: those that were not there yet.
        megabytes: that these have.
    """

    files: int
    written: int
    megabytes: float


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    kind: str  # "file", "folder", or what it is instead
    open: Callable[[], IO[bytes] | None]  # None for what is no file


def unpack(path: Path, rule: Archive, root: Path, *, quiet: bool = False) -> Unpacked:
    """Unpack an archive.

    Before anything is written every member is looked at: a name that leads out of the root, a link or a device makes
    the archive refused as a whole. A file is written aside and renamed; one of the right size is not written again, so
    that an interrupted run goes on where it stopped.

    Args:
        path: of the zip or tar.
        rule: which of its members are taken, and where they go.
        root: the folder they go below.
        quiet: show no progress.

    Returns:
        How many files and megabytes.

    Raises:
        DataError: the archive is broken, not safe, of another data set, or larger than the disk's free space.
    """
    try:
        with _members(path) as all_members:
            members = [member for member in all_members if not _is_litter(member)]
            _check(path, members)
            wanted = [(member, root / inner) for member in members if (inner := _target(member, rule)) is not None]
            if not wanted:
                raise DataError(f"{path} holds nothing{f' below {rule.below}' if rule.below else ''}: another archive?")
            todo = [(member, target) for member, target in wanted if not _is_there(target, member.size)]
            size = sum(member.size for member, _ in todo)
            _check_space(path, root, size)
            title = f"{path.name}, {size / 1e6:.0f} MB"
            with Display(title, start=len(wanted) - len(todo), steps=len(wanted), quiet=quiet) as display:
                for done, (member, target) in enumerate(todo, len(wanted) - len(todo) + 1):
                    source = member.open()
                    assert source is not None  # only files are opened
                    with source:
                        _write(source, target, member.size)
                    display.step(done, {})
    except _BROKEN as error:
        raise DataError(
            f"Can't unpack {path} ({path.stat().st_size / 1e6:.0f} MB): {error}. If the download is broken, "
            "replace it; the files unpacked so far are complete, and the same command goes on from there."
        ) from error
    return Unpacked(len(wanted), len(todo), round(size / 1e6, 1))


@contextmanager
def _members(path: Path) -> Iterator[list[_Member]]:
    """All members of a zip or tar, which can be opened while this is entered."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            yield [
                _Member(info.filename, info.file_size, _zip_kind(info), partial(file.open, info))
                for info in file.infolist()
            ]
    else:
        with tarfile.open(path) as tar:
            yield [
                _Member(info.name, info.size, _tar_kind(info), partial(tar.extractfile, info))
                for info in tar.getmembers()
            ]


def _zip_kind(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16
    if info.is_dir():
        return "folder"
    if stat.S_IFMT(mode) in (0, stat.S_IFREG):
        return "file"
    return "link" if stat.S_ISLNK(mode) else "device"


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.isdir():
        return "folder"
    if info.isreg():
        return "file"
    return "link" if info.issym() or info.islnk() else "device"


def _is_litter(member: _Member) -> bool:
    return any(part in _LITTER for part in PurePosixPath(member.name).parts)


def _check(path: Path, members: list[_Member]) -> None:
    for member in members:
        name = member.name.replace("\\", "/")
        inner = PurePosixPath(name)
        if inner.is_absolute() or ".." in inner.parts or ":" in name or "\0" in name:
            why = "leads out of the folder it is unpacked to"
        elif member.kind not in {"file", "folder"}:
            why = f"is a {member.kind}"
        else:
            continue
        raise DataError(
            f"{path} is refused: its member {member.name!r} {why}, which a published archive has no need of. "
            "Nothing was written. Download it from the official place."
        )


def _target(member: _Member, rule: Archive) -> PurePosixPath | None:
    """Where a file goes below the root; None for folders and for what lies elsewhere in the archive."""
    parts = PurePosixPath(member.name.replace("\\", "/")).parts
    below = PurePosixPath(rule.below).parts
    starts = range(len(parts) - len(below)) if member.kind == "file" else ()
    start = next((start for start in starts if parts[start : start + len(below)] == below), None)
    return None if start is None else PurePosixPath(rule.into, *parts[start + len(below) :])


def _is_there(target: Path, size: int) -> bool:
    return target.is_file() and target.stat().st_size == size


def _check_space(path: Path, root: Path, size: int) -> None:
    folder = next(parent for parent in (root.absolute(), *root.absolute().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(
            f"{path} unpacks to {size / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free at {folder}. Free some space, or "
            "set root to another disk. Nothing was written."
        )


def _write(source: IO[bytes], target: Path, size: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        if aside.stat().st_size != size:
            raise EOFError(f"{target.name} ends after {aside.stat().st_size} of {size} bytes")
        aside.replace(target)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
