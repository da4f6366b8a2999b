"""The files that say what a study found."""

from __future__ import annotations

from pathlib import Path

from segdistill.core.storage import write_text
from segdistill.reporting.study_table import comma_separated, markdown
from segdistill.studies.result import Study


def save_study(study: Study, folder: Path) -> None:
    """Write study.json, table.md (everything) and table.csv (a line a run).

    Args:
        study: What was found.
        folder: Where the files go.
    """
    study.save(folder)
    write_text(folder / "table.md", markdown(study))
    write_text(folder / "table.csv", comma_separated(study))
