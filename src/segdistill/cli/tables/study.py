"""What `compare` and `distill` found, on the terminal."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult

from segdistill.cli.tables.fitted import FittedTable
from segdistill.reporting.answer import answer
from segdistill.reporting.study_table import HEADINGS, WITH_ONE_SEED, cells, notes
from segdistill.studies.result import Study

_SHORT = {"gap closed": "closed"}
_COLUMNS = ("network", "mIoU", "gain", "95 % CI", "gap closed", "edge", "body", "cost")
_COLUMNS_OF_ONE_SEED = (
    "network", "seeds", "mIoU", "gain", "gap closed", "mAcc", *WITH_ONE_SEED, "steps", "min", "cost",
)  # fmt: skip
_LEFT_OUT_FIRST = (
    "aAcc", "mAcc", "GFLOPs", "body", "edge", "min", "seeds", "steps", "Mpar", "ms", "gap closed", "cost", "95 % CI",
)  # fmt: skip


class StudyTable:
    """The columns of a study that fit the terminal's width, and what they mean; files and page have the others.

    Args:
        study: A comparison, or the distillation of one seed.
    """

    def __init__(self, study: Study) -> None:
        self._study = study

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = _COLUMNS_OF_ONE_SEED if self._study.one_seed else _COLUMNS
        headings, rows = cells(self._study, leave_out=set(HEADINGS) - {*columns})
        narrow = [[_narrow(heading, cell) for heading, cell in zip(headings, row, strict=True)] for row in rows]
        table = FittedTable(headings, narrow, _LEFT_OUT_FIRST, _SHORT)
        yield table
        yield notes(self._study, table.shown(console, options))


def shown_study(study: Study) -> list[object]:
    """The answer, the table and how the numbers were made.

    Args:
        study: A comparison, or the distillation of one seed.

    Returns:
        What rich prints, in this order.
    """
    return [*answer(study).lines(), StudyTable(study)]


def _narrow(heading: str, cell: str) -> str:
    """The cell without what a terminal has no room for."""
    return cell.partition(" ")[0] if heading in ("edge", "body") else cell.replace(" ± ", "±")
