"""The files of steps whose loss or gradient was not finite: which a run holds, and what is in one."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import torch

from segdistill.core.errors import CheckpointError, RecipeError
from segdistill.runs.checkpoint import damage


def find_saved_step(run: Path, step: int | None) -> Path:
    """The file of a saved step of a run, of its teacher's or of its student alone's.

    Args:
        run: The run folder.
        step: Counted from 1; None for the first one that was saved.

    Returns:
        The file.

    Raises:
        RecipeError: The run holds no such step.
    """
    files = {
        int(match.group(1)): file
        for folder in (run / "teacher", run / "alone", run)
        for file in sorted((folder / "faults").glob("step-*.pt"), reverse=True)
        if (match := re.match(r"step-(\d+)", file.name))
    }
    if not files:
        raise RecipeError(
            f"{run} holds no saved step: no file faults/step-N.pt. A run writes one when a loss or gradient "
            "is not finite."
        )
    if step is not None and step not in files:
        raise RecipeError(f"{run} holds no saved step {step}; it has {', '.join(map(str, sorted(files)))}.")
    return files[min(files) if step is None else step]


def load_saved_step(file: Path) -> dict[str, Any]:
    """What `nonfinite.Faults` wrote, verified by its checksum.

    Args:
        file: The saved step.

    Returns:
        Its content by name, on the CPU.

    Raises:
        CheckpointError: It can't be read.
    """
    try:
        if fault := damage(file):
            raise RuntimeError(fault)
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        content["state"], content["images"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"Can't read the saved step {file}: {error}. The run would write it again.") from error
    return content
