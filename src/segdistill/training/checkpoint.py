"""The full state of a run at a step, written so that it is complete or absent."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from segdistill.errors import CheckpointError
from segdistill.storage import write_aside


@dataclass
class Progress:
    """What a run remembers beside tensors. step: optimiser steps done. seconds: training time so far.

    skipped: the steps, counted from 1, that were left out because something was not finite. rate: what backing off
    from such steps has multiplied the learning rate with. unreadable: training samples that could not be read, by their
    index, and why.
    """

    step: int = 0
    seconds: float = 0.0
    best_miou: float = -1.0
    best_step: int = 0
    skipped: list[int] = field(default_factory=list)
    rate: float = 1.0
    unreadable: dict[int, str] = field(default_factory=dict)


def save_state(path: Path, progress: Progress, states: dict[str, Any]) -> None:
    """Write progress and the state dicts of everything that trains."""
    write_aside(path, lambda aside: torch.save({"progress": vars(progress), "states": states}, aside))


def load_state(path: Path) -> tuple[Progress, dict[str, Any]]:
    """Read what `save_state` wrote; never runs code from the file."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return Progress(**content["progress"]), content["states"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"Can't resume from {path}: {error}. Delete the run folder to start again.") from error
