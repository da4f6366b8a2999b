"""SIGINT and SIGTERM ask a run to stop after its step, so that it can save before it leaves."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

from segdistill.errors import SegdistillError


class Interrupted(SegdistillError):
    """A run was asked to stop, has saved its state, and can be continued. `code` is the exit status to leave with."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class StopRequest:
    """While entered, remembers the first SIGINT or SIGTERM instead of dying of it; a second SIGINT interrupts at once.

    Outside the main thread, where Python allows no handlers, it never asks for anything.
    """

    def __init__(self) -> None:
        self.received: int | None = None
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
        if self.received == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.received = number
