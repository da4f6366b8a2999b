"""Writing files so that they are complete or absent."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError

from segdistill.core.errors import SegdistillError, is_dead_worker_error

_ASIDE = ".part"


def write_aside(path: Path, write: Callable[[Path], object], *, before: Path | None = None) -> None:
    """Write a file that is complete or absent: fill one beside it, flush that to disk, then rename it.

    A failure leaves `path` as it was.

    Args:
        path: of the file; its folder is made if need be.
        write: fills the file whose path it is given.
        before: what `path` was until now is kept under this name. Between the two renames there may be no `path`.

    Raises:
        SegdistillError: the file can't be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}{_ASIDE}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.touch()
        usual = aside.stat().st_mode
        write(aside)
        aside.chmod(usual)  # safetensors takes the file's group its right to read
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        if before is not None and path.exists():
            path.replace(before)
        aside.replace(path)
        _flush_names(path.parent)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have errors of their own
        if is_dead_worker_error(error):
            raise
        raise cannot_save(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def clear_aside(*folders: Path) -> None:
    """Remove what killed processes were writing in folders, which nobody else may be writing to.

    Args:
        *folders: those below them are left alone, such as that of an export that is under way.
    """
    for folder in folders:
        for left in folder.glob(f".*{_ASIDE}"):
            with contextlib.suppress(OSError):
                left.unlink()


def _flush_names(folder: Path) -> None:
    """Flush the names in a folder, where the system can: a rename is not on the disk before."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse, and the file itself is flushed
            os.fsync(handle)
    finally:
        os.close(handle)


def nearest_existing(path: Path) -> Path:
    """The path itself if it exists, else the nearest one above it that does: on whose disk it will lie.

    Args:
        path: of a file or folder that may not be there yet.
    """
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.exists())


def cannot_save(path: Path, error: Exception) -> SegdistillError:
    """The error for people of a file that can't be written, with the space that is left.

    Args:
        path: of the file.
        error: why.

    Returns:
        An error to raise.
    """
    before = "The file of that name from before is untouched." if path.exists() else "Nothing was left behind."
    free = shutil.disk_usage(nearest_existing(path.parent)).free / 1e6
    return SegdistillError(
        f"Can't save {path}: {error}. {before} {free:.0f} MB are free on that disk: free some space or allow writing "
        "there, then run the same command with --resume."
    )


def stamp(path: Path) -> tuple[str, int, int]:
    """What tells that a file was changed, without reading it.

    Args:
        path: of the file.

    Returns:
        Its absolute path, size in bytes, and time of its last change in nanoseconds.

    Raises:
        OSError: it can't be looked at.
    """
    state = path.stat()
    return str(path.absolute()), state.st_size, state.st_mtime_ns


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal.

    Args:
        path: of the file.

    Returns:
        64 digits.
    """
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, complete or absent.

    Args:
        path: of the file.
        text: its content.

    Raises:
        SegdistillError: the file can't be written.
    """
    write_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, complete or absent.

    Args:
        path: of the file.
        value: plain values.

    Raises:
        SegdistillError: the file can't be written.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_yaml(path: Path, value: Any) -> None:
    """Write a value as YAML in its own key order, complete or absent.

    Args:
        path: of the file.
        value: plain values.

    Raises:
        SegdistillError: the file can't be written.
    """
    write_text(path, yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
