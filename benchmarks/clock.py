"""Where the time of real training steps goes: a run of `training.loop.Trainer` with marks at the borders of its parts.

Every moment between two steps belongs to exactly one part, so the parts add up to the step. Losses are told from the
student in the backward pass by gradient hooks: autograd goes back through what was made last first, so the methods'
losses are done when the task loss's gradient is asked for, and all losses when that of the student's output is.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from segdistill.core.outputs import SegOutput
from segdistill.evaluation.cost.cost import wait
from segdistill.runtime.display import Display
from segdistill.training import loop
from segdistill.training.distiller import Distiller

NETWORKS = ("student forward", "student backward", "teacher forward")
LOSSES = ("task loss", "method loss")
OTHERS = ("optimiser", "data", "rest")
PARTS = (*NETWORKS, *LOSSES, *OTHERS)


@dataclass(frozen=True)
class Step:
    """Seconds of one step by part: on the wall, and of this process on the processor (loader workers not counted)."""

    wall: dict[str, float]
    processor: dict[str, float]


class Clock:
    """`mark(part)` gives the time since the mark before it to that part."""

    def __init__(self, device: torch.device) -> None:
        self.steps: list[Step] = []
        self._device = device
        self._began()

    def _began(self) -> None:
        self._wall: Counter[str] = Counter()
        self._processor: Counter[str] = Counter()
        self._last = time.perf_counter(), time.process_time()

    def mark(self, part: str) -> None:
        wait(self._device)
        now = time.perf_counter(), time.process_time()
        self._wall[part] += now[0] - self._last[0]  # type: ignore[assignment]
        self._processor[part] += now[1] - self._last[1]  # type: ignore[assignment]
        self._last = now

    def end(self) -> None:
        """A step is over."""
        self.mark("rest")
        self.steps.append(Step(*({part: kept[part] for part in PARTS} for kept in (self._wall, self._processor))))  # type: ignore[arg-type]
        self._began()


@contextlib.contextmanager
def timed(distiller: Distiller, device: torch.device) -> Iterator[Clock]:
    """The clock of all steps that a `Trainer` of this distiller makes meanwhile."""
    clock = Clock(device)
    first = {"losses": False, "student": False}

    def begin(*_: object) -> None:
        clock.mark("rest")

    def ends(part: str) -> Callable[..., None]:
        return lambda *_: clock.mark(part)

    def reached(what: str, part: str) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            if not first[what]:
                first[what] = True
                clock.mark(part)

        return hook

    def student_done(module: nn.Module, given: Any, output: SegOutput) -> None:
        clock.mark("student forward")
        for tensor in (output.logits, output.embedding, output.auxiliary, *output.features):
            if tensor is not None and tensor.requires_grad:
                tensor.register_hook(reached("student", "task loss"))

    def task_loss(*given: Any) -> Tensor:
        loss = original_loss(*given)
        clock.mark("task loss")
        if loss.requires_grad:
            loss.register_hook(reached("losses", "method loss"))
        return loss

    def teacher_output(*given: Any) -> SegOutput:  # a run asks another form of the teacher than the one it is given
        clock.mark("rest")
        output = original_teacher_output(*given)
        clock.mark("teacher forward")
        return output

    def backward(tensor: Tensor, *given: Any, **named: Any) -> None:
        clock.mark("rest")
        first.update(losses=False, student=False)
        original_backward(tensor, *given, **named)
        clock.mark("student backward")

    def batches(*given: Any, **named: Any) -> Iterator[Any]:
        inner = original_batches(*given, **named)
        while True:
            clock.mark("rest")
            try:
                batch = next(inner)
            except StopIteration:
                return
            clock.mark("data")
            yield batch

    def step(display: Display, done: int, terms: dict[str, float]) -> None:
        original_step(display, done, terms)
        clock.end()

    original_teacher_output = distiller._teacher_output
    original_loss, original_backward = distiller._task_loss, Tensor.backward
    original_batches, original_step = loop.training_batches, Display.step
    handles = [
        distiller.student.register_forward_pre_hook(begin),
        distiller.student.register_forward_hook(student_done),
        register_optimizer_step_pre_hook(begin),
        register_optimizer_step_post_hook(ends("optimiser")),
    ]
    for module in distiller.methods:
        handles += [module.register_forward_pre_hook(begin), module.register_forward_hook(ends("method loss"))]
    with (
        mock.patch.object(distiller, "_teacher_output", teacher_output),
        mock.patch.object(distiller, "_task_loss", task_loss),
        mock.patch.object(Tensor, "backward", backward),
        mock.patch.object(loop, "training_batches", batches),
        mock.patch.object(Display, "step", step),
    ):
        try:
            yield clock
        finally:
            for handle in handles:
                handle.remove()
