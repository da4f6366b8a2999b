"""Whether the networks of a run are compiled while they train: as the recipe says, or as a short trial finds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.core.precision import Precision
from segdistill.evaluation.cost.timed_pass import timed_pass
from segdistill.models.channels import image_channels
from segdistill.models.network import as_input, device_of
from segdistill.recipe.training import TrainingConfig
from segdistill.runs.folder import RunFolder
from segdistill.runtime.processes import from_main, number_of_processes
from segdistill.training.distiller import Distiller
from segdistill.training.faults.nonfinite import Snapshot

_ROUNDS = 3
_WORTH = 0.95  # of the time as it is; less of a gain is within what two timings differ by


@dataclass(frozen=True)
class Compiled:
    """Which networks run compiled.

    Attributes:
        student: Whether it does.
        teacher: Whether it does.
        reasons: Why, for people.
    """

    student: bool = False
    teacher: bool = False
    reasons: tuple[str, ...] = ()


def compile_networks(
    distiller: Distiller,
    config: TrainingConfig,
    folder: RunFolder,
    crop: tuple[int, int],
    log: Callable[[str], object],
    *,
    compile_teacher: bool,
) -> None:
    """Let the distiller run its networks as `config.compile` says, and say what was found.

    What is chosen is written to the run's environment.json, and a resumed run takes it from there: compiled and plain
    networks differ by rounding.

    Args:
        distiller: Student and teacher.
        config: Its `compile` says whether they are compiled, or tried.
        folder: Of the run.
        crop: (h,w) of the images.
        log: Takes messages for people.
        compile_teacher: Whether the teacher is run at all.
    """
    if config.compile is False:
        return
    choice = _recorded(folder)
    if choice is None:
        log("compiling the networks, which can take minutes")
        choice = from_main(_choose(distiller, config, crop, compile_teacher=compile_teacher))
        folder.note("compile", {"student": choice.student, "teacher": choice.teacher, "why": choice.reasons})
        for reason in choice.reasons:
            log(reason)
    distiller.compile_networks(student=choice.student, teacher=choice.teacher)


def _recorded(folder: RunFolder) -> Compiled | None:
    try:
        recorded = folder.noted("compile")
        return Compiled(bool(recorded["student"]), bool(recorded["teacher"]))
    except (KeyError, TypeError):
        return None


def _choose(distiller: Distiller, config: TrainingConfig, crop: tuple[int, int], *, compile_teacher: bool) -> Compiled:
    device = device_of(distiller.student)
    generator = torch.Generator().manual_seed(0)
    images = max(1, config.batch_size // (config.grad_accumulation * number_of_processes()))
    shape = images, image_channels(distiller.student), *crop
    pixels = as_input(torch.randint(256, shape, dtype=torch.uint8, generator=generator).to(device))
    snapshot = Snapshot(distiller, queues=False)
    snapshot.take()
    distiller.train()
    choice = Compiled()
    networks: dict[str, nn.Module] = {"student": distiller.student}
    if compile_teacher and distiller.running_teacher is not None:
        networks["teacher"] = distiller.running_teacher
    for role, network in networks.items():
        precision = config.computes_in if role == "student" else distiller.teacher_precision or config.computes_in
        better, reason = _pays(network, pixels, precision, must=config.compile is True, trains=role == "student")
        choice = replace(choice, reasons=(*choice.reasons, f"the {role} {reason}"), **{role: better})
    distiller.zero_grad(set_to_none=True)
    snapshot.restore()
    return choice


def _pays(network: nn.Module, pixels: Tensor, precision: Precision, *, must: bool, trains: bool) -> tuple[bool, str]:
    """Whether to compile the network (wherever that is possible, if it `must`), and why, as the end of a sentence."""
    call: Callable[[Tensor], SegOutput] = torch.compile(network, dynamic=False)
    began = time.perf_counter()
    try:
        timed_pass(call, pixels, precision, trains=trains)
    except Exception as error:  # whatever a compiler does with somebody's network
        return False, f"can't be compiled here and runs as it is ({type(error).__name__}: {_first_line(error)})"
    spent = time.perf_counter() - began
    if must:
        return True, f"is compiled, in {spent:.0f} s"
    timed_pass(network, pixels, precision, trains=trains)
    times = [[timed_pass(form, pixels, precision, trains=trains) for form in (network, call)] for _ in range(_ROUNDS)]
    plain, compiled = (statistics.median(one) for one in zip(*times, strict=True))
    better = compiled < _WORTH * plain
    verb = "is compiled" if better else "runs as it is"
    return better, f"{verb}: {1e3 * compiled:.0f} ms compiled (in {spent:.0f} s), {1e3 * plain:.0f} ms as it is"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:200]
