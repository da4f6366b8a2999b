"""Published rows as tables: all of them with our own numbers beside, and one that was run again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from segdistill.published_rows import PublishedRow, measured
from segdistill.reproduction import Reproduction


def published_tables(rows: Iterable[PublishedRow]) -> list[Table]:
    """A table for each published one: a line for each pair on a data set, a column for each method, mIoU in percent.

    A row's name is that of its line and of its column with a slash between. "-" is a number that was not looked up;
    ours stands in brackets behind it.
    """
    papers: dict[str, list[PublishedRow]] = {}
    for row in rows:
        papers.setdefault(row.paper, []).append(row)
    return [_table(paper, own) for paper, own in papers.items()]


def _table(paper: str, rows: list[PublishedRow]) -> Table:
    table = Table(
        title=f"published: {paper}; mIoU", caption=f"A row is called line/column. Source: {rows[0].source}.",
        title_justify="left", caption_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0),
    )  # fmt: skip
    methods = list(dict.fromkeys(row.method for row in rows))
    for index, heading in enumerate(["", *methods]):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    lines: dict[str, list[str]] = {}
    for row in rows:
        lines.setdefault(row.name.rpartition("/")[0], []).append(_cell(row))
    for name, cells in lines.items():
        table.add_row(name, *cells)
    return table


def _cell(row: PublishedRow) -> str:
    own = measured().get(row.name)
    return _number(row.miou) + (f" ({_number(own['miou'])})" if own else "")


def long_table(rows: Iterable[PublishedRow]) -> Table:
    """A line for each row: mIoU and mAcc as published and ours, test mIoU, cost, and the weight file."""
    table = Table(title="published", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    headings = ("row", "mIoU", "mAcc", "our mIoU", "our mAcc", "test mIoU", "GFLOPs", "Mpar", "file")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("row", "file") else "right", no_wrap=True)
    for row in rows:
        own: dict[str, Any] = measured().get(row.name, {})
        numbers = (row.miou, row.macc, own.get("miou"), own.get("macc"), row.test_miou, row.gflops, row.parameters)
        table.add_row(row.name, *map(_number, numbers), row.file or "-")
    return table


def reproduction_table(done: Reproduction) -> Table:
    """Published beside measured."""
    table = Table(title=done.row.paper, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("row", "mIoU", "published", "difference", "mAcc", "published", "difference"):
        table.add_column(heading, justify="left" if heading == "row" else "right", no_wrap=True)
    for line in done.lines:
        cells: list[str] = []
        for ours, theirs in ((line.scores.miou, line.row.miou), (line.scores.macc, line.row.macc)):
            gap = "-" if theirs is None else f"{ours - theirs:+.2f}"
            cells += [_number(ours), _number(theirs), gap]
        table.add_row(line.row.name, *cells)
    return table


def reproduction_notes(done: Reproduction) -> list[str]:
    """Whether it was the published recipe, and what the table says of the row."""
    if done.changed:
        notes = ["Not the published recipe (in brackets what is): " + "; ".join(done.changed) + "."]
    else:
        notes = ["The published recipe, unchanged."]
    notes += [f"{line.row.name}: {line.remark}." for line in done.lines if line.remark]
    notes += done.row.remarks
    own_words = [f"{word}: {origin}" for word, origin in done.row.origins.items()]
    if own_words:
        notes.append("Where its constants come from: " + "; ".join(own_words) + ".")
    return [*notes, f"Run: {done.folder}"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
