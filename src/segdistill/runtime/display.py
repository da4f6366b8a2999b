"""What a person sees while a run goes on: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False)
"""Progress and messages go to standard error, so that standard output holds results only."""

_SECONDS_BETWEEN_LINES = 20.0


class Display:
    """Steps done, time left and the loss terms by name.

    Args:
        title: before the bar and before each line.
        start: steps that are done already.
        steps: in all.
        quiet: show nothing.
    """

    def __init__(self, title: str, *, start: int, steps: int, quiet: bool = False) -> None:
        self._title, self._steps, self._quiet = title, steps, quiet
        self._start, self._began, self._printed = start, time.monotonic(), time.monotonic()
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[terms]}"),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=steps, completed=start, terms="")

    def step(self, done: int, terms: dict[str, float]) -> None:
        """Show how far the run is: on a terminal at once, elsewhere a line every 20 seconds.

        Args:
            done: steps so far, those before a resume included.
            terms: the loss terms of the last step, by name.
        """
        text = " ".join(f"{name} {value:.3f}" for name, value in terms.items())
        self._bar.update(self._task, completed=done, terms=text)
        now = time.monotonic()
        if not console.is_terminal and not self._quiet and now - self._printed > _SECONDS_BETWEEN_LINES:
            self._printed = now
            left = (now - self._began) / max(1, done - self._start) * (self._steps - done)
            console.print(f"{self._title}: step {done}/{self._steps}, {left / 60:.1f} min left, {text}", soft_wrap=True)

    def log(self, text: str) -> None:
        """Print a line above the bar, unless the display is quiet.

        Args:
            text: of the line, which the title begins.
        """
        if not self._quiet:
            console.print(f"{self._title}: {text}", soft_wrap=True, markup=False)

    @contextlib.contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], float]]:
        """A bar of its own while the run does something else than steps; off a terminal a line every 20 seconds.

        Args:
            what: is counted.
            total: how many there are.

        Yields:
            A function to call with the number that were done just now; it gives the seconds that all will take.
        """
        task = self._bar.add_task(f"{self._title}: {what}", total=total, terms="")
        tally = _Tally(what, total, self.log)

        def count(number: int) -> float:
            self._bar.advance(task, number)
            return tally.add(number)

        try:
            yield count
        finally:
            self._bar.remove_task(task)

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


@contextlib.contextmanager
def counting(title: str, total: int, *, quiet: bool = False) -> Iterator[Callable[[float], object]]:
    """A bar; off a terminal a line every 20 seconds.

    Args:
        title: before the bar.
        total: of what is counted.
        quiet: show nothing.

    Yields:
        A function to call with the number (of images, ..) that were done.
    """
    columns = TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        tally = _Tally(title, total, lambda line: None if quiet else console.print(line, soft_wrap=True, markup=False))

        def count(number: float) -> None:
            bar.advance(task, number)
            tally.add(number)

        yield count


class _Tally:
    """How much is done and how long all of it will take; off a terminal a line every 20 seconds.

    Args:
        what: is counted.
        total: how many there are.
        log: takes the line.
    """

    def __init__(self, what: str, total: int, log: Callable[[str], None]) -> None:
        self._what, self._total, self._log, self._done = what, total, log, 0.0
        self._began = self._printed = time.monotonic()

    def add(self, number: float) -> float:
        """Count what was done just now.

        Args:
            number: of it.

        Returns:
            The seconds that all will take.
        """
        self._done += number
        now = time.monotonic()
        expected = (now - self._began) / max(1, self._done) * self._total
        if not console.is_terminal and now - self._printed > _SECONDS_BETWEEN_LINES:
            self._printed = now
            left = (expected - now + self._began) / 60
            self._log(f"{self._what} {self._done:.0f}/{self._total}, {left:.1f} min left")
        return expected
