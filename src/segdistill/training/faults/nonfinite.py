"""Losses and gradients that are not finite: found without waiting for the device once more, named, saved, answered."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segdistill.core.errors import SegdistillError, TrainingError
from segdistill.core.findings import shortened
from segdistill.core.storage import write_aside
from segdistill.data.loading import Batch
from segdistill.evaluation.finite import first_not_finite
from segdistill.recipe.training import TrainingConfig
from segdistill.runs.checkpoint import Progress
from segdistill.runtime.processes import number_of_processes, total
from segdistill.training.distiller import Distiller

_KEPT = 3  # faults of a run whose batch is saved: each file is as large as the weights
_NAMED = 16  # samples in a message


@dataclass(frozen=True)
class Reading:
    """A step's numbers.

    Attributes:
        terms: Of the loss of this process, by name.
        joint: Their means over the processes, which are the joint batch's.
        norms: Of the gradients.
        faults: How many of the numbers are not finite, in all processes.
    """

    terms: dict[str, float]
    joint: dict[str, float]
    norms: tuple[float, ...]
    faults: int


def read(terms: Mapping[str, Tensor], norms: Sequence[Tensor] = ()) -> Reading:
    """Fetch a step's numbers from the device, all at once; the processes agree on the number of faults.

    Args:
        terms: Scalars of the loss by name, one at least.
        norms: Scalars.

    Returns:
        The numbers.
    """
    numbers = torch.stack([*terms.values(), *(norm.to(next(iter(terms.values()))) for norm in norms)])
    faults = (~numbers.isfinite()).sum()
    summed = total(torch.cat([numbers[: len(terms)], faults[None].to(numbers.dtype)]))
    *values, count = torch.cat([numbers, summed]).tolist()
    own_terms, norms_read, sums = values[: len(terms)], values[len(terms) : len(numbers)], values[len(numbers) :]
    joint = {name: value / number_of_processes() for name, value in zip(terms, sums, strict=True)}
    return Reading(dict(zip(terms, own_terms, strict=True)), joint, tuple(norms_read), int(count))


class Snapshot:
    """What a forward pass changes, as it was before: running statistics, queues, and counts of random draws.

    Args:
        distiller: Student and methods.
        queues: Whether the methods' queues, which can be large, are copied too.
    """

    def __init__(self, distiller: Distiller, *, queues: bool) -> None:
        self._distiller = distiller
        self._left_out = () if queues else distiller.queue_names()
        self._state: dict[str, Any] = {}

    def take(self) -> None:
        """Copy the present state."""
        old: list[Tensor] = []
        new: list[Tensor] = []
        for name, value in self._distiller.state_dict(keep_vars=True).items():
            if isinstance(value, nn.Parameter) or name.startswith(self._left_out):
                continue
            before = self._state.get(name)
            if not isinstance(value, Tensor):
                self._state[name] = copy.deepcopy(value)
            elif before is None or before.shape != value.shape:
                self._state[name] = value.clone()
            else:  # new memory at every step would take twice as long
                old.append(before)
                new.append(value)
        if old:
            torch._foreach_copy_(old, new)  # all of them in a few launches on a device

    def restore(self) -> None:
        """Put the copy back."""
        self._distiller.load_state_dict(self._state, strict=False)


@dataclass(frozen=True)
class Faults:
    """What a run does about a fault: says what it is, saves the batch, and stops, or leaves the step out.

    Attributes:
        folder: Of the run.
        distiller: Student, methods and teacher.
        config: Whose `on_nonfinite` says what is done.
        rank: Of this process, from 0.
        world: Number of processes.
    """

    folder: Path
    distiller: Distiller
    config: TrainingConfig
    rank: int = 0
    world: int = 1

    def answer(
        self,
        reading: Reading,
        batches: Sequence[Batch],
        positions: Sequence[Sequence[int]],
        progress: Progress,
        scale: float,
    ) -> str:
        """Save the batch, and leave the step out or stop. The weights are those before the step.

        Args:
            reading: The step's numbers.
            batches: Its micro-batches.
            positions: Of its samples in the order of the run, one list a micro-batch.
            progress: Of the run; a step that is left out is noted in it.
            scale: What the loss was multiplied with, in fp16.

        Returns:
            What was found and done, for people.

        Raises:
            TrainingError: The run has to stop.
        """
        what = self._what(reading, batches, positions, progress.step)
        broken = first_not_finite(self.distiller.student.state_dict())
        if broken:
            what += f" The weights were broken before it: tensor '{broken}' of the student is not finite."
        what += self._saved(reading, batches, positions, progress, scale)
        config = self.config
        if config.on_nonfinite == "stop" or broken or len(progress.skipped) >= config.nonfinite_limit:
            raise TrainingError(f"{what} {self._advice(progress, bool(broken))}")
        progress.skipped.append(progress.step + 1)
        done = f"The step is left out ({len(progress.skipped)} of at most {config.nonfinite_limit})"
        if config.on_nonfinite == "back_off":
            progress.rate *= 0.5
            done += f", and the learning rate is {progress.rate:g} of the schedule's from now on"
        return f"{what} {done}."

    def _what(self, reading: Reading, batches: Sequence[Batch], positions: Sequence[Sequence[int]], step: int) -> str:
        """The term or tensor, the step, the precision and the samples."""
        bad = [f"'{name}' is {value}" for name, value in reading.terms.items() if not math.isfinite(value)]
        if bad:
            what = f"Loss term {bad[0]}" + (f" (also {', '.join(bad[1:])})" if bad[1:] else "")
        else:
            fine = ", ".join(f"{name} {value:.4g}" for name, value in reading.terms.items())
            broken = bad_gradients(self.distiller)
            if broken:
                more = f" ({len(broken)} tensors in all)" if len(broken) > 1 else ""
                what = f"The gradient of '{broken[0]}'{more} is not finite, though the loss terms are ({fine}),"
            elif any(not math.isfinite(norm) for norm in reading.norms):
                what = f"The norm of the gradient is not finite, too large for float32, at loss terms {fine},"
            else:
                what = "The loss of another process is not finite"
        names = [name for batch in batches for name in batch.names]
        indices = [index for batch_positions in positions for index in batch_positions]
        named = [f"{name} (position {index})" for name, index in zip(names, indices, strict=True)]
        samples = shortened(named, _NAMED)
        return f"{what} at step {step + 1} of {self.config.steps} in {self.config.computes_in}; samples {samples}."

    def _saved(
        self,
        reading: Reading,
        batches: Sequence[Batch],
        positions: Sequence[Sequence[int]],
        progress: Progress,
        scale: float,
    ) -> str:
        """Write what `replay` needs, and say where; of the first few faults, by the processes that see one."""
        own_fault = any(not math.isfinite(value) for value in (*reading.terms.values(), *reading.norms))
        if len(progress.skipped) >= _KEPT or not own_fault:
            return ""
        rank = f"-rank{self.rank}" if self.world > 1 else ""
        file = self.folder / "faults" / f"step-{progress.step + 1}{rank}.pt"
        content = {
            "step": progress.step,
            "rank": self.rank,
            "world": self.world,
            "scale": scale,
            "rate": progress.rate,
            "config": self.config.model_dump(mode="json"),
            "terms": reading.terms,
            "positions": [list(batch_positions) for batch_positions in positions],
            "names": [list(batch.names) for batch in batches],
            "images": [batch.image.cpu() for batch in batches],
            "labels": [batch.label.cpu() for batch in batches],
            "targets": [None if batch.target is None else batch.target.cpu() for batch in batches],
            "distils": bool(len(self.distiller.methods)),
            "class_weights": self.distiller.class_weights,
            "state": self.distiller.state_dict(),
        }
        try:
            write_aside(file, lambda aside: torch.save(content, aside))
        except SegdistillError as error:  # what was found matters more
            return f" The batch could not be saved for replay: {error}"
        return f" The batch is saved: `segdistill replay {self.folder}` looks where it arises."

    def _advice(self, progress: Progress, broken: bool) -> str:
        config = self.config
        limit = f"{len(progress.skipped)} steps were left out before, the limit. " if progress.skipped else ""
        going_on = (
            ""
            if broken or progress.skipped
            else " To go on without such steps: the same command with --resume and on_nonfinite=skip or =back_off."
        )
        precision = "" if config.computes_in == "fp32" else " or precision=fp32"
        clip = ", clip_grad=10" if config.clip_grad is None else ""
        return (
            f"{limit}The last good checkpoint is kept in {self.folder / 'checkpoints'}. Try a new run with a lower "
            f"learning rate (optimizer.lr={config.optimizer.lr / 4:g}){clip}{precision}.{going_on}"
        )


def bad_gradients(module: nn.Module) -> list[str]:
    """The parameters whose gradient is not finite.

    Args:
        module: Whose parameters are looked at.

    Returns:
        Their names, the one nearest to the loss first as far as their order tells.
    """
    named = [(name, each.grad) for name, each in module.named_parameters() if each.grad is not None]
    return [name for name, gradient in reversed(named) if not gradient.isfinite().all()]
