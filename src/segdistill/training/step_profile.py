"""Where the time of a training step goes, from a few real ones that are thrown away, and what would make it shorter."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from segdistill.core.outputs import SegOutput
from segdistill.core.precision import computes_in_bf16
from segdistill.core.results import Result
from segdistill.data.loading import Batch, training_batches
from segdistill.data.stream import Stream
from segdistill.evaluation.cost.bf16_gain import GAIN, bf16_gain
from segdistill.evaluation.cost.cost import wait
from segdistill.methods import Method
from segdistill.models.network import as_input
from segdistill.runtime.allocator import keep_freed_memory
from segdistill.runtime.processes import own_device
from segdistill.training.distiller import Distiller
from segdistill.training.dry_run import as_cached
from segdistill.training.faults.nonfinite import read
from segdistill.training.precision_trial import settle_precision
from segdistill.training.shares import own_batches
from segdistill.training.stepper import forward_backward
from segdistill.training.task import Task
from segdistill.training.update import Update

PARTS = ("data", "teacher", "student", "losses", "optimizer", "rest")
_WARM_UP = 2
_ENOUGH = 0.05  # of a step: less is not worth a change


@dataclass(frozen=True, repr=False)
class StepProfile(Result):
    """Where the time of a step goes.

    Attributes:
        milliseconds: Of a step: waiting for "data", forward of the "teacher", forward and backward of the "student",
            "losses" of task and methods, the "optimizer", and the "rest". Medians, which add up to about a step.
        loading: Milliseconds in which one worker loads a batch.
        precision: What student and teacher compute in.
        advice: What would make the step shorter, in sentences; the most helpful first.
    """

    milliseconds: dict[str, float]
    loading: float
    precision: str
    advice: tuple[str, ...]

    @property
    def step(self) -> float:
        """Milliseconds of a step."""
        return sum(self.milliseconds.values())

    def records(self) -> list[dict[str, Any]]:
        """A row for each part: part, ms, percent."""
        return [
            {"part": part, "ms": each, "percent": 100 * each / self.step} for part, each in self.milliseconds.items()
        ]


def profile_steps(task: Task, steps: int) -> StepProfile:
    """Make a few steps of a run and time their parts.

    Args:
        task: What is trained, with its teacher; thrown away.
        steps: How many are timed, after two that warm up.

    Raises:
        DataError: A sample can't be read.
    """
    device = own_device()
    keep_freed_memory(device)
    lines: list[str] = []
    task = settle_precision(task, None, lines.append)
    config, distiller = task.config, task.distiller
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    for module in (distiller, distiller.teacher):
        if module is not None:
            module.to(device, memory_format=layout)  # type: ignore[call-overload]
    distiller.fold_teacher(task.recipe.augment.crop)
    distiller.train()
    stream = Stream(task.data, task.recipe.augment, config.seed)
    began = time.perf_counter()
    first = [stream[position].image for position in range(config.batch_size)]
    loading = time.perf_counter() - began
    clock = _Clock(device)
    _make_steps(task, stream, clock, _WARM_UP + steps)
    timed = clock.steps[_WARM_UP:]
    seconds = {part: statistics.median(step[part] for step in timed) for part in PARTS}
    pixels = as_input(torch.stack(first[:2]).to(device))
    names = [config.computes_in, *([task.teacher_config.computes_in] if distiller.teacher is not None else [])]
    return StepProfile(
        milliseconds={part: 1e3 * each for part, each in seconds.items()},
        loading=1e3 * loading,
        precision=", ".join(f"{role} {name}" for role, name in zip(("student", "teacher"), names, strict=False)),
        advice=_advice(task, seconds, loading, pixels),
    )


class _Clock:
    """`mark(part)` gives the time since the mark before it to that part."""

    def __init__(self, device: torch.device) -> None:
        self.steps: list[Counter[str]] = []
        self._device, self._last = device, time.perf_counter()

    def begin(self) -> None:
        """A step begins."""
        self.steps.append(Counter())
        self._last = time.perf_counter()

    def pause(self) -> None:
        """What was done since the last mark is no part of the step."""
        wait(self._device)
        self._last = time.perf_counter()

    def mark(self, part: str) -> None:
        """A part is over."""
        wait(self._device)
        now = time.perf_counter()
        self.steps[-1][part] += now - self._last  # type: ignore[assignment]
        self._last = now


def _make_steps(task: Task, stream: Stream, clock: _Clock, steps: int) -> None:
    device, config, distiller = own_device(), task.config, task.distiller
    update = Update(distiller, config, device)
    batches = training_batches(stream, own_batches(config), start=0, stop=steps, workers=config.workers)
    cached = task.recipe.teacher.cache != "off"
    handles = _hooks(distiller, clock, teacher=None if cached else distiller.running_teacher)
    first = distiller.busiest_step(config.steps)
    distiller.shares.freeze()
    try:
        for step in range(first, first + steps):
            clock.begin()
            micro_batches: list[Batch] = [next(batches).to(device) for _ in range(config.grad_accumulation)]
            clock.mark("data")
            micro_batches = [replace(batch, target=as_cached(task, batch)) for batch in micro_batches]
            clock.pause()
            losses = forward_backward(
                distiller, micro_batches, step, precision=config.computes_in, scaler=update.scaler
            )
            clock.mark("student")  # its backward pass is what ends last
            norms = update.norms()
            clock.mark("optimizer")
            read(losses, norms)
            clock.mark("rest")
            update.apply(norms)
            update.clear()
            clock.mark("optimizer")
    finally:
        for handle in handles:
            handle.remove()


def _hooks(distiller: Distiller, clock: _Clock, teacher: nn.Module | None) -> list[RemovableHandle]:
    """Marks where networks begin and end, and where the backward pass reaches the student.

    Autograd goes back through what was made last first: what it does before it asks for the gradient of a map of the
    student belongs to the losses.
    """
    reached = [True]

    def student_begins(*_: object) -> None:
        clock.mark("student" if reached[0] else "rest")  # the backward pass of the micro-batch before
        reached[0] = False

    def student_ends(module: nn.Module, inputs: Any, output: SegOutput) -> None:
        clock.mark("student")
        for maps in (output.logits, output.embedding, output.auxiliary, *output.features):
            if maps is not None and maps.requires_grad:
                maps.register_hook(backward_reaches_student)

    def backward_reaches_student(gradient: Tensor) -> None:
        if not reached[0]:
            reached[0] = True
            clock.mark("losses")

    handles = [
        distiller.student.register_forward_pre_hook(student_begins),
        distiller.student.register_forward_hook(student_ends),
    ]
    if teacher is not None:
        handles.append(teacher.register_forward_pre_hook(lambda *_: clock.mark("losses")))
        handles.append(teacher.register_forward_hook(lambda *_: clock.mark("teacher")))
    return handles


def _advice(task: Task, seconds: dict[str, float], loading: float, pixels: Tensor) -> tuple[str, ...]:
    """What would make the step shorter, with the share of the step that it would save."""
    config, step = task.config, sum(seconds.values())
    ideas = [
        (seconds["student"] / step * _saved(task.distiller.student, config.computes_in, pixels, trains=True),
         "precision=bf16 for the student's passes"),
        (seconds["data"] / step, _about_loading(config.workers, loading, step - seconds["data"])),
    ]  # fmt: skip
    teacher = task.distiller.running_teacher
    if teacher is not None and task.recipe.teacher.cache == "off":
        share = seconds["teacher"] / step
        saved = share * _saved(teacher, task.teacher_config.computes_in, pixels, trains=False)
        ideas.append((saved, "teacher.precision=bf16 for the teacher's pass"))
        if all(isinstance(each, Method) and each.needs <= {"logits", "label"} for each in task.distiller.methods):
            ideas.append((share, "teacher.cache=logits, an approximation that asks the teacher once an image"))
    lines = [
        f"{text}: about {100 * share:.0f} % of the step"
        for share, text in sorted(ideas, reverse=True)
        if share > _ENOUGH
    ]
    networks = (seconds["student"] + seconds["teacher"]) / step
    if pixels.is_cuda and config.compile is False and networks > 0.5:
        lines.append(
            "compile=auto tries compiled networks, which takes minutes; it may help where launches are the limit"
        )
    if pixels.is_cuda:
        _, total = torch.cuda.mem_get_info(pixels.device)
        if torch.cuda.max_memory_allocated(pixels.device) < total / 3:
            lines.append("less than a third of the GPU's memory is used: a larger batch_size keeps it busier")
    return tuple(lines)


def _saved(network: nn.Module, precision: str, pixels: Tensor, *, trains: bool) -> float:
    """The share of the network's time that bf16 would save."""
    if precision != "fp32" or not computes_in_bf16(pixels.device) or getattr(network, "keeps_tensors", False):
        return 0.0
    gain = bf16_gain(network, pixels, trains=trains)
    return 1 - 1 / gain if gain >= GAIN else 0.0


def _about_loading(workers: int, loading: float, computing: float) -> str:
    needed = math.ceil(loading / max(computing, 1e-9))
    return f"workers={max(needed, workers + 1)}, as one loads a batch in {1e3 * loading:.0f} ms"
