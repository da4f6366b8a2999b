"""SIGINT and SIGTERM ask a run to stop, so that it can save before it leaves: after its step, or at once where a run
only waits for data or validates."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import TypeVar

from segdistill.core.errors import SegdistillError

T = TypeVar("T")


class Interrupted(SegdistillError):
    """A run was asked to stop, has saved its state, and can be continued.

    Args:
        message: for people.
        code: the exit status to leave with, 128 and the signal's number.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class StopNow(BaseException):
    """Leaves what `StopRequest.at_once` holds. Not an Exception: the code of a data set must not catch it."""


class StopRequest:
    """While entered, remembers the first SIGINT or SIGTERM instead of dying of it; a second SIGINT interrupts at once.

    Outside the main thread, where Python allows no handlers, it never asks for anything.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._at_once = False
        self._process = os.getpid()
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a loader's worker that was forked just now: the run will end it
            return
        if self.received == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.received = number
        if self._at_once:
            raise StopNow

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """While entered, a signal raises `StopNow`, as does one received before.

        Yields:
            None.

        Raises:
            StopNow: a signal has come.
        """
        self._at_once = True
        try:
            if self.received is not None:
                raise StopNow
            yield
        finally:
            self._at_once = False

    def waiting(self, batches: Iterator[T], step: int) -> Iterator[T]:
        """The batches of a run; a signal ends the wait for the first one of a step at once.

        Args:
            batches: micro-batches in their order.
            step: how many of them make an optimizer step.

        Yields:
            The batches.

        Raises:
            StopNow: a signal has come before or while the first batch of a step was waited for.
        """
        for part in itertools.cycle(range(step)):
            try:
                with self.at_once() if part == 0 else contextlib.nullcontext():
                    batch = next(batches)
            except StopIteration:
                return
            yield batch
