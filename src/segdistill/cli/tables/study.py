"""What `compare` and `distill` found, on the terminal."""

from __future__ import annotations

from segdistill.cli.terminal import results
from segdistill.reporting.answer import answer
from segdistill.reporting.study_table import terminal, terminal_notes
from segdistill.studies.result import Study


def print_study(study: Study) -> None:
    """Print the answer, the table and how the numbers were made."""
    for line in answer(study).lines():
        results.print(line, soft_wrap=True, markup=False)
    results.print(terminal(study))
    results.print(terminal_notes(study), soft_wrap=True, markup=False)
