"""What the machine does to a run, in words for people: a killed worker or process, no memory left."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from segdistill.core.errors import TrainingError, is_dead_worker_error

# The last is what oneDNN says.
_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "Cannot allocate memory",
    "bad_alloc",
    "could not create a primitive",
)
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "Timed out waiting")
_RESUME = "The last saved state is untouched: run the same command with --resume to go on from it"


class OutOfMemoryError(TrainingError):
    """A run needs more memory than there is.

    Args:
        message: for people.
        what: the run was doing, as "training".
    """

    def __init__(self, message: str, what: str) -> None:
        super().__init__(message)
        self.what = what


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """While entered, errors of the machine become errors for people; all others pass.

    Args:
        what: is being done, for the messages: "training", "validating", ..

    Yields:
        None.

    Raises:
        OutOfMemoryError: the machine or the device has no more memory.
        TrainingError: a process that loads images was ended, or another process of the run.
    """
    try:
        yield
    except MemoryError as error:
        raise OutOfMemoryError(f"Out of memory while {what}: {error or 'no more could be had'}.", what) from error
    except RuntimeError as error:
        import torch  # here, so that what needs no torch does not wait for it

        text = " ".join(str(error).split())
        asked = re.search(r"tried to allocate [\d.]+ \w+", text, re.IGNORECASE)
        if isinstance(error, torch.OutOfMemoryError) or any(words in text for words in _NO_MEMORY):
            raise OutOfMemoryError(
                f"Out of memory while {what}: {asked.group() if asked else _first(text)}.", what
            ) from error
        if is_dead_worker_error(error):
            raise TrainingError(
                f"A process that loads images was ended from outside while {what} ({_first(text)}). Mostly there was "
                "too little memory, or too little shared memory (/dev/shm; docker run --shm-size=8g). "
                f"{_RESUME}, with fewer workers, or with workers=0 to load in the run itself."
            ) from error
        if isinstance(error, torch.distributed.DistError) or any(words in text for words in _LOST):
            raise TrainingError(
                f"Another process of this run has ended or does not answer, while {what} ({_first(text)}). What it "
                f"said last tells why. {_RESUME}; any number of processes that divides batch_size will do."
            ) from error
        raise


def _first(text: str) -> str:
    return text.partition(". ")[0].rstrip(" .")[:300]
