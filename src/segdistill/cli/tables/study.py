"""What `compare` and `distill` found, on the terminal."""

from __future__ import annotations

from segdistill.reporting.answer import answer
from segdistill.reporting.study_table import terminal, terminal_notes
from segdistill.studies.result import Study


def shown_study(study: Study) -> list[object]:
    """The answer, the table and how the numbers were made.

    Args:
        study: A comparison, or the distillation of one seed.

    Returns:
        What rich prints, in this order.
    """
    return [*answer(study).lines(), terminal(study), terminal_notes(study)]
