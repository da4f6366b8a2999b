"""Published rows as tables: all of them with our own numbers beside, and one that was run again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from segdistill.recipe.published_rows import PublishedRow, measured

if TYPE_CHECKING:
    from segdistill.commands.reproduce import Reproduction


def published_tables(rows: Iterable[PublishedRow]) -> list[Table]:
    """Published tables with our own numbers beside.

    Args:
        rows: All rows, in the order of the tables.

    Returns:
        A table for each paper: a line for each pair on a data set, a column for each method, mIoU in percent; "-" is a
        number that was not looked up, and what we measured ourselves stands in a line below.
    """
    papers: dict[str, list[PublishedRow]] = {}
    for row in rows:
        papers.setdefault(row.paper, []).append(row)
    return [_table(paper, rows_of) for paper, rows_of in papers.items()]


def _table(paper: str, rows: list[PublishedRow]) -> Table:
    example = rows[-1].name
    caption = f"mIoU in percent; the last number's row is called {example}. Source: {rows[0].source}."
    table = _empty(f"published: {paper}", ["", *dict.fromkeys(row.method for row in rows)], caption)
    lines: dict[str, list[PublishedRow]] = {}
    for row in rows:
        lines.setdefault(row.name.rpartition("/")[0], []).append(row)
    data = ""
    for line, cells in lines.items():
        where, _, pair = line.rpartition("/")
        if where != data:
            data = where
            table.add_row(f"{where}/", style="bold")
        table.add_row(f"  {pair}", *(_number(row.miou) for row in cells))
        measured_miou = [measured().get(row.name, {}).get("miou") for row in cells]
        if any(measured_miou):
            table.add_row("    ours", *("" if miou is None else _number(miou) for miou in measured_miou))
    return table


def long_table(rows: Iterable[PublishedRow]) -> Table:
    """Published rows with more numbers of each.

    Args:
        rows: The rows.

    Returns:
        A line for each: mIoU and mAcc as published, our mIoU, and the mIoU of the test server, in percent.
    """
    caption = "In percent; -: not looked up. --json has words, files, cost and origins as well."
    table = _empty("published", ["", "mIoU", "mAcc", "ours", "test"], caption)
    for row in rows:
        measurement = measured().get(row.name, {})
        table.add_row(row.name, *map(_number, (row.miou, row.macc, measurement.get("miou"), row.test_miou)))
    return table


def reproduction_table(done: Reproduction) -> Table:
    """What a run measured beside what was published.

    Args:
        done: A finished `reproduce`.

    Returns:
        A line for each row that it measured, in percent.
    """
    pair = done.row.name.rpartition("/")[0]
    headings = ["", "mIoU", "published", "gap", "mAcc", "published", "gap"]
    table = _empty(pair, headings, f"{done.row.paper}; {done.row.source}")
    for line in done.lines:
        cells: list[str] = []
        for ours, theirs in ((line.miou, line.row.miou), (line.macc, line.row.macc)):
            gap = "-" if theirs is None else f"{ours - theirs:+.2f}"
            cells += [_number(ours), _number(theirs), gap]
        table.add_row(line.row.method, *cells)
    return table


def reproduction_notes(done: Reproduction) -> list[str]:
    """Whether it was the published recipe, and what the table says of the row.

    Args:
        done: A finished `reproduce`.

    Returns:
        A line for each.
    """
    if done.changed:
        notes = ["Not the published recipe (in brackets what is): " + "; ".join(done.changed) + "."]
    else:
        notes = ["The published recipe, unchanged."]
    notes += [f"{line.row.method}: {line.description}." for line in done.lines if line.description]
    notes += done.row.descriptions
    origins = [f"{word}: {origin}" for word, origin in done.row.origins.items()]
    if origins:
        notes.append("Where its constants come from: " + "; ".join(origins) + ".")
    return [*notes, f"Run: {done.folder}"]


def _empty(title: str, headings: list[str], caption: str | None = None) -> Table:
    table = Table(
        title=title, caption=caption, title_justify="left", caption_justify="left", box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
