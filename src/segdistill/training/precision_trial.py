"""What the networks of a run compute in where the recipe says precision=auto.

bf16 is taken for a network if the hardware computes in it, a pass over the run's first images is at least `GAIN` times
as fast as in fp32, and its logits of these images differ from those in fp32 by at most `_TOLERANCE`:

    |z_bf16 - z_fp32| / |z_fp32|, Euclidean norms over all classes and pixels, in evaluation mode

Else it is fp32. The run keeps the choice in its environment.json, and the machine what it measured, so that all runs of
a study, and the same run another time, have the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from segdistill.core.errors import SegdistillError
from segdistill.core.precision import Precision, computes_in_bf16, computing_in, is_imitated
from segdistill.data.stream import Stream
from segdistill.evaluation.cost.bf16_gain import GAIN, bf16_gain
from segdistill.models.network import as_input
from segdistill.models.probing import evaluating
from segdistill.models.spec import Role
from segdistill.recipe.training import TrainingConfig
from segdistill.runs.folder import RunFolder
from segdistill.runtime.processes import from_main, is_main, own_device
from segdistill.training.sharding import is_sharded
from segdistill.training.task import Task

_TOLERANCE: dict[Role, float] = {"student": 0.25, "teacher": 0.05}
"""A student with fresh weights rounds its features a long way off; of a trained teacher that would be a fault."""
_FEW = 50  # steps that are over before a trial has paid
_IMAGES = 2  # of a pass: the gain hardly depends on them, and batch norm needs two


@dataclass(frozen=True)
class Precisions:
    """What the networks of a run compute in.

    Attributes:
        student: The network that is trained.
        teacher: Its teacher; None if that has a precision of its own, or is not there.
        why: In a line, for people.
    """

    student: Precision
    teacher: Precision | None
    why: str


def settle_precision(task: Task, folder: RunFolder | None, log: Callable[[str], object]) -> Task:
    """Replace precision=auto by what the run computes in: as it did before, or as a trial finds.

    A precision that the recipe names stays; a line says so where this machine only imitates it.

    Args:
        task: What is trained, with its teacher.
        folder: Of the run, which keeps the choice; None for steps that are thrown away.
        log: Takes a line for people.

    Returns:
        The task; it is the same where the recipe names a precision.
    """
    if task.config.precision != "auto":
        if is_imitated(task.config.precision, own_device()):
            log(
                f"precision: this machine does not compute in {task.config.precision} but imitates it, at many times "
                "the time of a step in fp32. Consider precision=auto, which takes what is fastest here."
            )
        return task
    precisions = None if folder is None else _recorded(folder)
    if precisions is None:
        precisions = from_main(_choose(task) if is_main() else None)
        assert precisions is not None
        if folder is not None:
            folder.note("precision", asdict(precisions))
        log(f"precision: {precisions.why}")
    return _computing_in(precisions, task)


def as_recorded(task: Task, folder: RunFolder) -> Task:
    """Replace precision=auto by what a run that has begun computes in.

    Args:
        task: What is trained.
        folder: Of the run.
    """
    precisions = _recorded(folder) if task.config.precision == "auto" else None
    return task if precisions is None else _computing_in(precisions, task)


def _computing_in(precisions: Precisions, task: Task) -> Task:
    task.distiller.teacher_precision = precisions.teacher
    return replace(task, config=task.config.model_copy(update={"precision": precisions.student}))


def _recorded(folder: RunFolder) -> Precisions | None:
    try:
        return Precisions(**folder.noted("precision"))
    except TypeError:
        return None


def _choose(task: Task) -> Precisions:
    """By the hardware, the length of the run, and a trial of each network on the first images."""
    networks: dict[Role, nn.Module] = {"student": task.distiller.student}
    if task.distiller.teacher is not None and task.recipe.teacher.precision is None:
        networks["teacher"] = task.distiller.teacher
    device = own_device()
    pixels = None
    if not computes_in_bf16(device):
        why = "fp32, as this machine does not compute in bf16"
    elif task.config.steps < _FEW:
        why = f"fp32; for fewer than {_FEW} steps nothing else is tried"
    else:
        pixels = _first_pixels(task, device)
        why = "fp32; the first images can't be read, so nothing else was tried"
    if pixels is None:
        return Precisions("fp32", "fp32" if "teacher" in networks else None, why)
    choices = {role: _try(network, role, pixels, task.config) for role, network in networks.items()}
    why = "; ".join(
        f"{task.role if role == 'student' else role} {precision} ({reason})"
        for role, (precision, reason) in choices.items()
    )
    return Precisions(choices["student"][0], choices["teacher"][0] if "teacher" in choices else None, why)


def _first_pixels(task: Task, device: torch.device) -> Tensor | None:
    """The run's first images (N,3,H,W) as networks see them."""
    stream = Stream(task.data, task.recipe.augment, task.config.seed)
    try:
        images = [stream[position].image for position in range(min(_IMAGES, task.config.batch_size))]
    except SegdistillError:
        return None
    return as_input(torch.stack(images).to(device))


def _try(network: nn.Module, role: Role, pixels: Tensor, config: TrainingConfig) -> tuple[Precision, str]:
    """The precision of a network, and why."""
    if is_sharded(network) or getattr(network, "keeps_tensors", False):
        return "fp32", "it can't be tried beforehand"
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    network.to(pixels.device, memory_format=layout)  # type: ignore[call-overload]
    error = _relative_difference(network, pixels)
    if not error <= _TOLERANCE[role]:
        return "fp32", f"bf16 changes its logits by {100 * error:.1f} %"
    gain = bf16_gain(network, pixels, trains=role == "student")
    reason = f"bf16 is {gain:.2f} times as fast and changes its logits by {100 * error:.1f} %"
    return "bf16" if gain >= GAIN else "fp32", reason


@torch.no_grad()
def _relative_difference(network: nn.Module, pixels: Tensor) -> float:
    """|z_bf16 - z_fp32| / |z_fp32| of the logits z."""
    precisions: tuple[Precision, Precision] = ("fp32", "bf16")
    maps = []
    with evaluating(network):
        for precision in precisions:
            with computing_in(precision, pixels.device):
                maps.append(network(pixels).logits.float())
    exact, rounded = maps
    return float((rounded - exact).norm() / exact.norm().clamp_min(torch.finfo(torch.float32).tiny))
