"""The folder of an export: written aside, checked, and only then brought in."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segdistill.core.errors import SegdistillError
from segdistill.core.storage import write_json
from segdistill.models.exported.intact import DESCRIPTION

RUNNER = "run_onnx.py"


@contextlib.contextmanager
def assembled(out: Path) -> Iterator[Path]:
    """A folder to write into; what it holds at the end is brought into `out`, and nothing if there is an error.

    SIGTERM is an error too: it ends the process as Ctrl-C does, and not before the folder is gone. What a process left
    that was killed outright goes with the next export into `out`.

    Args:
        out: The folder; made if it is not there, and gone again if nothing came into it.

    Raises:
        SegdistillError: The folder can't be written to.
    """
    aside = out / f".export.{os.getpid()}.part"
    made: list[Path] = []
    try:
        try:
            _clear_left(out)
            made = [parent for parent in (out, *out.parents) if not parent.exists()]
            aside.mkdir(parents=True)
        except OSError as error:
            raise SegdistillError(
                f"Can't write to the folder {out}: {error}. Choose another, as out=FOLDER."
            ) from error
        try:
            with _leaving_at_signals():
                yield aside
            _bring_in(aside, out)
        except Exception as error:
            if (reason := _disk_fault(error)) is None:
                raise
            free = shutil.disk_usage(aside).free / 1e6
            raise SegdistillError(
                f"Can't write to the folder {out}: {reason}. It is as it was. {free:.0f} MB are free on that disk: "
                "free some space, allow writing there, or choose another folder, as out=FOLDER."
            ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):  # it is not empty: the export went well
                folder.rmdir()


def _bring_in(aside: Path, out: Path) -> None:
    """Move all files of `aside` into `out`, or none: what they replace is kept until the last one is there."""
    before = aside / "before"
    files = sorted(aside.iterdir())
    with _signals_later():
        before.mkdir()
        try:
            for file in files:
                target = out / file.name
                if target.is_dir():
                    raise IsADirectoryError(errno.EISDIR, "A folder has the name of a file", str(target))
                if target.exists():
                    target.replace(before / file.name)
                file.replace(target)
        except OSError:
            for file in files:
                if not file.exists():
                    (out / file.name).unlink()
                if (before / file.name).exists():
                    (before / file.name).replace(out / file.name)
            raise


_FULL = re.compile("PytorchStreamWriter|File too large|No space left|Disk quota exceeded|Read-only file system")
"""What an error says, of whatever runtime, when a disk does not take a file."""


def _disk_fault(error: Exception) -> str | None:
    """Why a disk did not take a file, if that is what an error comes from."""
    if isinstance(error, OSError):
        return str(error)
    cause: BaseException | None = error
    while cause is not None:
        if _FULL.search(str(cause)):
            return str(cause).strip().splitlines()[0].rstrip(".")
        cause = cause.__cause__ or cause.__context__
    return None


@contextlib.contextmanager
def _signals_later() -> Iterator[None]:
    """While entered, Ctrl-C and SIGTERM wait, where the system can make them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _clear_left(out: Path) -> None:
    """Remove folders of processes that are gone."""
    for left in out.glob(".export.*.part"):
        number = left.name.split(".")[2]
        if number.isdecimal() and not _is_alive(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


@contextlib.contextmanager
def _leaving_at_signals() -> Iterator[None]:
    """While entered, SIGTERM ends the process as Ctrl-C does, with the status of one that it ended; main thread only.

    As in training, SIGINT counts in the background of a shell, too, where Python ignores it.

    A library that runs then may drop what is raised, as a finalizer does: it is raised again at the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def leave(number: int, frame: object = None) -> None:
        received.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        leave(received[0])


def add_description(out: Path, aside: Path, common: dict[str, Any], files: dict[str, dict[str, Any]]) -> None:
    """Write `export.json` into `aside`: what all files share, and of each file what is its own.

    Files that `out` holds from an earlier export of the same weights keep their entries.
    """
    before: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        before = json.loads((out / DESCRIPTION).read_text(encoding="utf-8"))
    same = isinstance(before, dict) and before.get("weights_sha256") == common.get("weights_sha256")
    kept = {name: each for name, each in before.get("files", {}).items() if (out / name).is_file()} if same else {}
    write_json(aside / DESCRIPTION, {**common, "files": {**kept, **files}})


def copy_runner(aside: Path) -> None:
    """Put the runner, which needs numpy, Pillow and onnxruntime alone, beside the file."""
    shutil.copyfile(Path(__file__).with_name(RUNNER), aside / RUNNER)
