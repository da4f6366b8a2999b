"""The table of `segdistill benchmark` for the page of a run: its exported files beside its networks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from segdistill.core.errors import DataError
from segdistill.exporting.benchmark_result import BENCHMARK_FILE


@dataclass(frozen=True)
class Exports:
    """What `benchmark` measured, as text.

    Args:
        headings: Of the columns.
        rows: Cells; the first one names the network or file.
        notes: How the numbers were made, and what is missing.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def exports(run: Path) -> Exports | None:
    """The table of a run's folder `benchmark`.

    Args:
        run: The run folder.

    Returns:
        The table as text; None if the run was never benchmarked.

    Raises:
        DataError: The file that holds it is damaged.
    """
    path = run / "benchmark" / BENCHMARK_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        table = content["table"]
        rows = tuple(tuple(str(cell) for cell in row) for row in table["cells"])
        notes = (str(table["notes"]), *(str(warning) for warning in content["warnings"]))
        return Exports(tuple(str(heading) for heading in table["headings"]), rows, notes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not a table of `segdistill benchmark` ({error!r}). Delete it, or run the benchmark again."
        ) from error
