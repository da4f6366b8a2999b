"""What a run notes as it goes: metrics.jsonl and TensorBoard curves."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from segdistill.core.storage import cannot_save, write_text
from segdistill.runs.checkpoint import Progress
from segdistill.runs.folder import RunFolder
from segdistill.runtime.processes import is_main


class Journal:
    """metrics.jsonl and TensorBoard curves; entries after the state that a run resumes from are dropped.

    Of several processes the main one writes, and the others write nothing.

    Args:
        folder: Of the run.
        progress: Of the state that the run goes on from.

    Raises:
        SegdistillError: The disk takes no more.
    """

    def __init__(self, folder: RunFolder, progress: Progress) -> None:
        self._metrics, self._curves = folder.metrics, folder.path / "tensorboard"
        self._writes = is_main()
        if not self._writes:
            return
        if folder.metrics.exists():
            write_text(folder.metrics, "".join(_lines_up_to(folder.metrics, progress)))
        with _saving(folder.metrics):
            folder.path.mkdir(parents=True, exist_ok=True)
            self._file = folder.metrics.open("a", encoding="utf-8")
        _silence_the_writer()
        with _saving(self._curves):
            self._board = SummaryWriter(str(self._curves), purge_step=progress.step + 1)

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Add a line of JSON; single numbers become TensorBoard curves `<kind>/<name>`.

        Args:
            kind: of the entry: "train", "validation", ..
            step: optimiser steps done.
            values: plain values by name.

        Raises:
            SegdistillError: the disk takes no more.
        """
        if not self._writes:
            return
        with _saving(self._metrics):
            self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
            self._file.flush()
        with _saving(self._curves):
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._writes:
            return
        with contextlib.suppress(OSError) if error is not None else _saving(self._metrics):
            self._file.close()
        with contextlib.suppress(OSError) if error is not None else _saving(self._curves):
            self._board.close()


def _silence_the_writer() -> None:
    """The thread that writes the curves hands an OSError over, and would print it, too: even after all is closed."""
    if getattr(threading.excepthook, "silent", False):
        return
    report = threading.excepthook

    def report_others(raised: threading.ExceptHookArgs) -> None:
        thread = type(raised.thread).__module__.partition(".")[0]
        if not issubclass(raised.exc_type, OSError) or thread != "tensorboard":
            report(raised)

    report_others.silent = True  # type: ignore[attr-defined]
    threading.excepthook = report_others


@contextlib.contextmanager
def _saving(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_save(path, error) from error


def _lines_up_to(path: Path, progress: Progress) -> list[str]:
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            entry = json.loads(line)
            kind, step = entry["kind"], entry["step"]
            repeated = progress.validating and step == progress.step and kind == "validation"
            if step <= progress.step and not repeated:
                kept.append(line)
        except (ValueError, TypeError, KeyError):  # cut short by a kill, or damaged
            continue
    return kept
