"""Tables that leave out columns where the terminal is too narrow for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table


class FittedTable:
    """A table of numbers whose first column is names. What stands in it stands there whole.

    Args:
        headings: Of the columns.
        rows: A cell for every heading.
        left_out_first: Headings of columns that may be left out, the least important first.
        short: What is printed in the place of a heading.
    """

    def __init__(
        self,
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
        left_out_first: Sequence[str],
        short: Mapping[str, str] | None = None,
    ) -> None:
        self._headings, self._rows, self._left_out_first, self._short = headings, rows, left_out_first, short or {}

    def shown(self, console: Console, options: ConsoleOptions) -> list[str]:
        """The headings of the columns that fit.

        Args:
            console: Where the table is printed.
            options: With its width.

        Returns:
            In the order of the table.
        """
        shown = [*self._headings]
        unlimited = options.update(max_width=10_000)
        for heading in self._left_out_first:
            if Measurement.get(console, unlimited, self._table(shown)).maximum <= options.max_width:
                break
            if heading in shown:
                shown.remove(heading)
        return shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._table(self.shown(console, options))

    def _table(self, shown: Sequence[str]) -> Table:
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for index, heading in enumerate(shown):
            table.add_column(
                self._short.get(heading, heading),
                justify="right" if index else "left",
                no_wrap=index > 0,
                overflow="fold",
            )
        kept = [at for at, heading in enumerate(self._headings) if heading in shown]
        for row in self._rows:
            table.add_row(*(row[at] for at in kept))
        return table
