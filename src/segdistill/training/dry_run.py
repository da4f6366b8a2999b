"""A few steps of a run, made and thrown away: what the whole of it will take in time, memory and disk."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segdistill.core.errors import SegdistillError
from segdistill.core.outputs import SegOutput
from segdistill.core.precision import computing_in
from segdistill.data.augment import Augment
from segdistill.data.loading import Batch, collate
from segdistill.data.stream import Stream
from segdistill.evaluation.cost.cost import wait
from segdistill.evaluation.cost.memory import LiveBytes
from segdistill.evaluation.cost.stages import Stages
from segdistill.models.network import as_input
from segdistill.runtime.processes import own_device
from segdistill.training.precision_trial import settle_precision
from segdistill.training.schedule import make_optimizer, own_optimizers
from segdistill.training.task import Task

_STEPS = 3  # the first is followed tensor by tensor, the others are timed
_IMAGES = 2  # a step on the CPU; batch norm needs two


@dataclass(frozen=True)
class DryRun:
    """What a run will take, extrapolated from a few of its steps.

    Attributes:
        what: Names the run.
        steps: Of the run.
        images: Of a step of the dry run.
        batch_size: Of the run, to which all that follows is extrapolated.
        compute_seconds: Of a step.
        loading_seconds: Of a step, in one process.
        step_seconds: Both, as far as they don't overlap.
        hours: Of all steps, without validation.
        memory: Bytes of weights, optimiser and tensors alive.
        disk: Bytes of checkpoints and weights, while they are written anew.
    """

    what: str
    steps: int
    images: int
    batch_size: int
    compute_seconds: float
    loading_seconds: float
    step_seconds: float
    hours: float
    memory: int
    disk: int


def dry_run(what: str, task: Task, augment: Augment, *, steps: int = _STEPS, images: int | None = None) -> DryRun:
    """Train for a few steps on this machine and work out what the whole run takes.

    Args:
        what: Names the run in the result.
        task: What is trained; thrown away, as its weights are not those of a fresh one afterwards.
        augment: How its samples are cropped.
        steps: How many are made.
        images: A micro-batch of the dry run, default the run's on CUDA and at most two elsewhere.

    Returns:
        Time, memory and disk.

    Raises:
        DataError: A sample can't be read.
    """
    device = own_device()
    task = settle_precision(task, None, lambda _: None)
    config, distiller = task.config, task.distiller
    micro = max(1, config.batch_size // config.grad_accumulation)
    images = min(images or (micro if device.type == "cuda" else _IMAGES), micro)
    for module in (distiller, distiller.teacher):
        if module is not None:
            module.to(device)
    method_optimizers = own_optimizers(distiller.methods)
    optimizers = [
        make_optimizer(config.optimizer, distiller.student, distiller.methods, method_optimizers),
        *method_optimizers,
    ]
    timing = _make_steps(task, augment, optimizers, steps, images)
    compute = statistics.median(timing.computing[1:]) * config.batch_size / images
    load = statistics.median(timing.loading) * config.batch_size / images
    step_seconds = max(compute, load / config.workers) if config.workers else compute + load
    trained = _bytes(distiller.parameters())
    kept = sum(_bytes(_tensors(optimizer.state_dict())) for optimizer in optimizers)
    weights = _bytes(_tensors(distiller.state_dict()))
    teacher = 0 if distiller.teacher is None else _bytes(_tensors(distiller.teacher.state_dict()))
    # The gradients of the weights grow with no batch; how many of them live at the peak is not known.
    activations = max(timing.forward, timing.peak - trained) * micro // images
    student = _bytes(_tensors(distiller.student.state_dict()))
    return DryRun(
        what=what,
        steps=config.steps,
        images=images,
        batch_size=config.batch_size,
        compute_seconds=compute,
        loading_seconds=load,
        step_seconds=step_seconds,
        hours=config.steps * step_seconds / 3600,
        memory=weights + teacher + trained + kept + activations,
        disk=2 * (weights + kept) + 3 * student,
    )


@dataclass(frozen=True)
class _Timing:
    """Seconds of each step, loading and computing; bytes alive after the first forward pass and at its step's peak."""

    loading: list[float]
    computing: list[float]
    forward: int
    peak: int


def _make_steps(
    task: Task, augment: Augment, optimizers: Sequence[torch.optim.Optimizer], steps: int, images: int
) -> _Timing:
    """Make the steps, numbered from the busiest of the run; the tensors of the first are followed."""
    device, distiller = own_device(), task.distiller
    stream = Stream(task.data, augment, task.config.seed)
    forward = 0
    live = LiveBytes(Stages(distiller.student))
    loading, computing = [], []
    first = distiller.busiest_step(task.config.steps)
    distiller.shares.freeze()
    distiller.train()
    for step in range(steps):
        began = time.perf_counter()
        batch = _batch(stream, step, images).to(device)
        loading.append(time.perf_counter() - began)
        target = as_cached(task, batch)
        wait(device)  # until the teacher of the cache has answered, which is no part of a step
        began = time.perf_counter()
        with computing_in(task.config.computes_in, device), live if step == 0 else contextlib.nullcontext():
            terms: dict[str, Tensor] = distiller(batch.image, batch.label, first + step, target)
            forward = forward or live.peak
            torch.stack(list(terms.values())).sum().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        wait(device)
        computing.append(time.perf_counter() - began)
    return _Timing(loading, computing, forward, live.peak)


def _batch(stream: Stream, step: int, images: int) -> Batch:
    batch = collate([stream[position] for position in range(step * images, (step + 1) * images)])
    if isinstance(batch, SegdistillError):
        raise batch
    return batch


@torch.no_grad()
@torch.no_grad()
def as_cached(task: Task, batch: Batch) -> Tensor | None:
    """What stands for the teacher's cached logits in steps that are thrown away: those of the batch itself.

    Args:
        task: With its teacher.
        batch: On the teacher's device.

    Returns:
        Logits (N,K,h,w); None where the run caches none, so that its steps ask the teacher.
    """
    teacher = task.distiller.teacher
    if teacher is None or task.recipe.teacher.cache == "off":
        return None
    output: SegOutput = teacher(as_input(batch.image))
    return output.logits


def _tensors(state: object) -> list[Tensor]:
    """All tensors of a nested state dict."""
    if isinstance(state, Tensor):
        return [state]
    inside = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [tensor for value in inside for tensor in _tensors(value)]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
