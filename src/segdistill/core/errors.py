"""Errors for people: what was found, what was expected, what to try next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_SHOWN = 40


class SegdistillError(Exception):
    """Anything the user can put right; the command line prints its text without a traceback."""


class RecipeError(SegdistillError):
    """A recipe names an unknown key, holds a wrong type, or asks for things that do not fit together."""


class DataError(SegdistillError):
    """A data set, list file, image or mask is missing, broken or not what the recipe says."""


class SampleError(DataError):
    """A sample of a data set can't be read.

    Attributes:
        index: Its place in the data set.
    """

    index: int = -1


class CheckpointError(SegdistillError):
    """A weight file or checkpoint is missing, broken, or belongs to another network or run."""


class TrainingError(SegdistillError):
    """Training can't go on: a loss that is not finite, a run folder in use, no space left."""


def is_dead_worker_error(error: Exception) -> bool:
    """Whether torch tells that a loader's process died: it does so in the main thread, wherever that is just then.

    Args:
        error: that was raised.

    Returns:
        True for torch's error of a dead worker.
    """
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


def listed(faults: Sequence[str], most: int = 12) -> str:
    """The first few faults, and how many more there are.

    Args:
        faults: in words.
        most: of them to list.

    Returns:
        A line for each, indented from the second on.
    """
    more = [f"... and {len(faults) - most} more"] if len(faults) > most else []
    return "\n  ".join([*faults[:most], *more])


def nearest(word: str, words: Iterable[str]) -> str:
    """The end of a message about an unknown word.

    Args:
        word: that is not known.
        words: that are.

    Returns:
        `" Did you mean 'x'?"` for the closest one, else a list of them.
    """
    words = sorted(words)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f" Did you mean '{close[0]}'?"
    more = f", ... ({len(words)} in all)" if len(words) > _SHOWN else ""
    return f" Known: {', '.join(words[:_SHOWN])}{more}."
