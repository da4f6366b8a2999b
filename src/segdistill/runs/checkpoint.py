"""The full state of a run at a step: complete or absent, verified before it is used, and the one before it kept.

The file is a zip archive, as torch writes it, which holds a CRC-32 of each of its records.
"""

from __future__ import annotations

import errno
import pickle
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from segdistill.core.errors import CheckpointError, TrainingError, is_dead_worker_error
from segdistill.core.storage import write_aside
from segdistill.runtime.failures import explained


class NoStateError(CheckpointError):
    """A run has states, and none of them verifies."""


@dataclass
class Progress:
    """What a run remembers beside tensors.

    Attributes:
        step: optimiser steps done.
        seconds: of training so far.
        best_miou: the best validation mIoU so far in percent, -1 before the first.
        best_step: the step it was measured at.
        best_of: how many images it was measured on; 0 if that was not kept.
        skipped: the steps, counted from 1, that were left out because something was not finite.
        rate: what backing off from such steps has multiplied the learning rate with.
        unreadable: training samples that could not be read, by their index, and why.
        validating: the validation that is due at this step is not done yet.
    """

    step: int = 0
    seconds: float = 0.0
    best_miou: float = -1.0
    best_step: int = 0
    best_of: int = 0
    skipped: list[int] = field(default_factory=list)
    rate: float = 1.0
    unreadable: dict[int, str] = field(default_factory=dict)
    validating: bool = False


_PROGRESS = TypeAdapter(Progress)
_WRONG = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What it may come to where a state holds something else than is looked for."""
_OF_THE_MACHINE = ("foreach", "fused", "capturable")  # options of an optimiser, which differ between kinds of device


@dataclass(frozen=True)
class State:
    """A state that verified.

    Attributes:
        path: its file.
        progress: of the run when it was saved.
        states: the state dict of everything that trains, by name.
        passed_over: newer states that did not verify, and why; "" if there is none.
    """

    path: Path
    progress: Progress
    states: dict[str, Any]
    passed_over: str = ""


def save_state(path: Path, progress: Progress, states: dict[str, Any], *, before: Path | None = None) -> None:
    """Write a state, which is read back before it takes its place.

    Args:
        path: of the file.
        progress: of the run.
        states: the state dict of everything that trains, by name.
        before: what `path` held until now is kept under this name.

    Raises:
        SegdistillError: the file can't be written, or is not read back as it was written.
    """

    def write(aside: Path) -> None:
        torch.save({"progress": vars(progress), "states": states}, aside)
        if fault := damage(aside):
            raise OSError(f"what was written is not what is read back ({fault})")

    write_aside(path, write, before=before)


def load_state(path: Path) -> tuple[Progress, dict[str, Any]]:
    """Read what `save_state` wrote; never runs code from the file.

    Args:
        path: of the file.

    Returns:
        The progress, and the state dict of everything that trains, by name, on the CPU.

    Raises:
        CheckpointError: the file is damaged, or holds something else.
        TrainingError: the file can't be read now, or memory is short, which says nothing of what it holds.
    """
    try:
        with explained(f"reading {path}"):
            if fault := damage(path):
                raise RuntimeError(fault)
            content = torch.load(path, map_location="cpu", weights_only=True)
            progress = _PROGRESS.validate_python(vars(Progress(**content["progress"])))
            return progress, dict(content["states"])
    except OSError as error:
        raise TrainingError(
            f"Can't read {path}: {error}. It is left as it is. Make it readable, or remove it to go on from the other."
        ) from error
    except (*_WRONG, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"Can't resume from {path}: {error}.") from error


def damage(path: Path) -> str:
    """What is wrong with the file of a state by its checksums.

    Args:
        path: of the file.

    Returns:
        In words; "" if nothing is wrong.

    Raises:
        OSError: the file can't be read.
    """
    try:
        with zipfile.ZipFile(path) as file:
            broken = file.testzip()
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return f"it is damaged: a position in it is none ({error})"  # and so can't be gone to
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if is_dead_worker_error(error):
            raise
        return f"it is cut short or damaged: {error}"
    return f"it is damaged: the checksum of its record {broken} is wrong" if broken else ""


def newest_state(paths: Sequence[Path]) -> State | None:
    """The newest state that verifies.

    Args:
        paths: of the files of states, the newest first; they may be missing.

    Returns:
        The state; None if no file is there.

    Raises:
        NoStateError: files are there, and none verifies.
        TrainingError: a file can't be read now, or memory is short.
    """
    faults: list[str] = []
    for path in paths:
        if not path.exists():
            continue
        try:
            progress, states = load_state(path)
        except CheckpointError as error:
            faults.append(str(error))
            continue
        return State(path, progress, states, " ".join(faults))
    if faults:
        raise NoStateError(" ".join(faults) + " Delete the run folder to start again.")
    return None


def restore(holders: Mapping[str, Any], state: State) -> None:
    """Load a state into everything that trains.

    Args:
        holders: modules and optimisers, by the names they were saved under.
        state: that was saved.

    Raises:
        TrainingError: it is the state of something else.
    """
    try:
        for name, holder in holders.items():
            usual = holder.state_dict()
            holder.load_state_dict(state.states[name])
            if isinstance(holder, torch.optim.Optimizer):
                _require_like(usual["param_groups"], holder)
    except _WRONG as error:
        raise TrainingError(
            f"{state.path} holds the state of another network, method or version of this library: {error}. "
            "Continue with the version that wrote it (environment.json), or delete the run folder to start again."
        ) from error


def _require_like(usual: list[dict[str, Any]], optimizer: torch.optim.Optimizer) -> None:
    """Refuse options and buffers of another kind, which torch takes and fails over in the next step."""
    for before, now in zip(usual, optimizer.param_groups, strict=True):
        for key, value in before.items():
            kinds = {type(value), type(now.get(key))}
            if key not in _OF_THE_MACHINE and len(kinds) > 1 and kinds != {int, float}:
                raise ValueError(f"the optimiser's {key} is {now.get(key)!r}")
    for parameter, buffers in optimizer.state.items():
        for key, value in buffers.items():
            if not isinstance(value, torch.Tensor) or value.shape not in (parameter.shape, ()):
                raise ValueError(f"the optimiser's {key} is no tensor of the shape {tuple(parameter.shape)}")
