"""Numbers that were measured on this machine once: another process finds the same and need not measure them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from segdistill.core.errors import SegdistillError
from segdistill.core.storage import write_json

_PATIENCE = 600.0  # seconds that another process may take to measure the same


def remembered(subject: str, key: str, measure: Callable[[], float]) -> float:
    """A number that `measure` finds, or found before on this machine.

    It is kept in `$XDG_CACHE_HOME/segdistill/SUBJECT.json` (`~/.cache` where that is not set), which may be deleted.
    Where nothing can be written there, it is measured each time.

    Args:
        subject: Names the file.
        key: Of the number.
        measure: Called if the number is not there; other processes wait for it.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "segdistill"
    file = folder / f"{subject}.json"
    lock = FileLock(folder / f".{subject}.lock", timeout=_PATIENCE)
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError, NotImplementedError, Timeout):
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock)
        numbers = _read(file)
        if key not in numbers:
            numbers[key] = float(measure())
            with contextlib.suppress(OSError, SegdistillError):
                write_json(file, numbers)
        return numbers[key]


def _read(file: Path) -> dict[str, float]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {key: float(value) for key, value in content.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
