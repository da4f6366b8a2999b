"""What a distillation will take in all, said after the first steps of its first run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from segdistill.core.errors import SegdistillError
from segdistill.evaluation.cost.cost import trace
from segdistill.models.network import device_of
from segdistill.training.task import Task

_WARM_UP, _TIMED = 2, 10
"""Steps that are not timed, and steps that are, or as many as `_ENOUGH` seconds hold."""
_ENOUGH = 30.0
_SHORT = 60.0
"""Seconds that are not worth a word."""


@dataclass(frozen=True)
class RunAhead:
    """A run that is to be made.

    Attributes:
        task: What is trained.
        teacher: The network that is asked in every step, or None.
    """

    task: Task
    teacher: nn.Module | None = None

    def work(self) -> float:
        """What a step computes, in multiply-adds: forward and twice as much backward, and the teacher forward.

        Raises:
            SegdistillError: A network can't be followed.
        """
        size = self.task.recipe.augment.crop
        teacher = 0 if self.teacher is None else _macs(self.teacher, size)
        return self.task.config.batch_size * (3 * _macs(self.task.network, size) + teacher)


class Forecast:
    """Says once how long all runs of a distillation will take, from the pace of the first.

    Args:
        runs: In their order, none of them begun.
        log: Takes the sentence.
    """

    def __init__(self, runs: Sequence[RunAhead], log: Callable[[str], object]) -> None:
        self._runs, self._log, self._is_done = runs, log, False

    def pace_of(self, task: Task) -> Pace:
        """What times the first steps of a run.

        Args:
            task: One of the runs.
        """
        return Pace(lambda seconds: self._say(task, seconds))

    def _say(self, task: Task, seconds: float) -> None:
        if self._is_done:
            return
        self._is_done = True
        try:
            work = [run.work() for run in self._runs]
        except SegdistillError:  # the run itself will say what is wrong
            return
        first = next(each for run, each in zip(self._runs, work, strict=True) if run.task is task)
        ahead = [seconds * each / first * run.task.config.steps for run, each in zip(self._runs, work, strict=True)]
        if sum(ahead) < _SHORT:
            return
        parts = ", ".join(
            f"{run.task.title} {_minutes(each)} ({run.task.config.steps} steps)"
            for run, each in zip(self._runs, ahead, strict=True)
        )
        self._log(
            f"about {_minutes(sum(ahead))} min for all of this: {parts}; by the first steps and what the networks "
            "compute, without validations and refit_images"
        )


class Pace:
    """Times the first steps of a run.

    Args:
        tell: Called once with the seconds of a step.
    """

    def __init__(self, tell: Callable[[float], object]) -> None:
        self._tell, self._steps, self._began = tell, 0, 0.0

    def step(self) -> None:
        """A step is done."""
        self._steps += 1
        if self._steps <= _WARM_UP:
            self._began = time.monotonic()
            return
        if self._began < 0:
            return
        timed, elapsed = self._steps - _WARM_UP, time.monotonic() - self._began
        if timed >= _TIMED or elapsed > _ENOUGH:
            self._began = -1.0
            self._tell(elapsed / timed)


def _macs(network: nn.Module, size: tuple[int, int]) -> int:
    """Multiply-adds of an image; the network, which may be training, stays as it is."""
    modes = {module: module.training for module in network.modules()}
    try:
        return trace(network, size, device_of(network)).macs.total()
    finally:
        for module, training in modes.items():
            module.training = training


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f}" if seconds >= 600 else f"{seconds / 60:.1f}"
