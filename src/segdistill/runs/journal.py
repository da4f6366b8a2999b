"""What a run notes as it goes: metrics.jsonl, and the same numbers for trackers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from segdistill.core.colors import Pixels
from segdistill.core.storage import cannot_save, write_text
from segdistill.runs.checkpoint import Progress
from segdistill.runs.folder import RunFolder
from segdistill.runs.trackers import Trackers
from segdistill.runtime.processes import is_main


class Journal:
    """metrics.jsonl and trackers' curves; entries after the state that a run resumes from are dropped.

    Of several processes the main one writes, and the others write nothing.

    Args:
        folder: Of the run.
        progress: Of the state that the run goes on from.
        trackers: The names of those that get the numbers, too; see `Trackers`.

    Raises:
        SegdistillError: The disk takes no more.
    """

    def __init__(self, folder: RunFolder, progress: Progress, trackers: Sequence[str] = ()) -> None:
        self._metrics = folder.metrics
        self._writes = is_main()
        if not self._writes:
            return
        if folder.metrics.exists():
            write_text(folder.metrics, "".join(_lines_up_to(folder.metrics, progress)))
        with _saving(folder.metrics):
            folder.path.mkdir(parents=True, exist_ok=True)
            self._file = folder.metrics.open("a", encoding="utf-8")
        self._trackers = Trackers(trackers, folder, progress.step)

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Add a line of JSON; single numbers become curves `<kind>/<name>`.

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
        numbers = {f"{kind}/{name}": value for name, value in values.items() if isinstance(value, int | float)}
        self._trackers.log(numbers, step)

    def show(self, pictures: Mapping[str, Pixels], step: int) -> None:
        """Hand pictures to the trackers that take them.

        Args:
            pictures: RGB uint8 (H,W,3), by name.
            step: optimiser steps done.
        """
        if self._writes:
            self._trackers.log_pictures(pictures, step)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._writes:
            return
        with contextlib.suppress(OSError) if error is not None else _saving(self._metrics):
            self._file.close()
        self._trackers.close()


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
                kept.append(line.rstrip("\n") + "\n")  # a kill may have cut just that off the last one
        except (ValueError, TypeError, KeyError):  # cut short by a kill, or damaged
            continue
    return kept
