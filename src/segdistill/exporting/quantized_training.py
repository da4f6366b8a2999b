"""Quantization-aware distillation: a short run that trains a finished student with the rounding of its INT8 file.

The float teacher teaches: the run's, or where there is none the student itself as it was, which does not round.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segdistill.core.errors import SegdistillError
from segdistill.data import SegmentationDataset, labeled_part, with_unlabeled
from segdistill.data.balance import class_weights
from segdistill.data.loading import Share, training_batches
from segdistill.data.stream import Stream
from segdistill.exporting.result import ExportedFile
from segdistill.exporting.settings import ExportSettings
from segdistill.exporting.simulation import SimulatedNetwork
from segdistill.methods import create_method
from segdistill.models.build import probe
from segdistill.models.loaded import LoadedModel
from segdistill.models.network import SegmentationNetwork
from segdistill.recipe.recipe import Recipe
from segdistill.runs.folder import run_of
from segdistill.runtime.display import Display
from segdistill.training.distiller import Distiller
from segdistill.training.pairing import run_teacher

_SCALES_FASTER = 10.0  # the logarithm of a scale moves by whole tenths, weights by thousandths
_WARMUP = 0.1  # of the steps


@dataclass(frozen=True)
class FloatTeacher:
    """What teaches. name: in words."""

    network: SegmentationNetwork
    name: str


@dataclass(frozen=True)
class TrainedInt8:
    """An INT8 file of a student that was trained for it.

    Attributes:
        file: The file.
        untrained: The INT8 file of the student as it was.
        teacher: What taught, in words.
    """

    file: ExportedFile
    untrained: Path
    teacher: str


@contextlib.contextmanager
def weights_restored(network: nn.Module) -> Iterator[None]:
    """While entered the weights of a network may change; afterwards they are as they were."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    try:
        yield
    finally:
        network.load_state_dict(before)


def float_teacher(model: LoadedModel, recipe: Recipe) -> FloatTeacher:
    """The teacher of the student's run, or a copy of the student as it is, if there is none of its classes."""
    try:
        pairing = run_teacher(recipe, run_of(model.path).path, model.classes) if recipe.method else None
    except SegdistillError:  # it has moved
        pairing = None
    if pairing is None or pairing.incompatibility:
        return FloatTeacher(copy.deepcopy(model.network), "the student in float")
    return FloatTeacher(pairing.model.network, "the run's teacher")


def train_quantized(
    network: SimulatedNetwork,
    teacher: SegmentationNetwork,
    data: SegmentationDataset,
    recipe: Recipe,
    settings: ExportSettings,
    *,
    quiet: bool,
) -> None:
    """Train weights and ranges for `settings.steps` steps of Adam; loss: the task's and `kd` of the teacher's scores.

    Args:
        network: The student as its INT8 file computes it; trained in place.
        teacher: Of the same classes.
        data: The training images.
        recipe: Of the run: its crops, batches, task loss and class balance are taken.
        settings: steps, lr, seed.
        quiet: Show no progress.

    Raises:
        SegdistillError: A loss is not finite, or the data can't be read.
    """
    distiller = _distiller(network, teacher, labeled_part(data), recipe)
    data = with_unlabeled(data, recipe.data)
    optimizer = torch.optim.Adam(
        [
            {"params": list(network.weights), "lr": settings.lr},
            {"params": [network.log_scales], "lr": settings.lr * _SCALES_FASTER},
        ]
    )
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=settings.steps + 1,
        pct_start=_WARMUP, cycle_momentum=False,
    )  # fmt: skip
    stream, share = Stream(data, recipe.augment, settings.seed), Share(recipe.batch_size)
    batches = training_batches(stream, share, start=0, stop=settings.steps, workers=recipe.workers)
    parameters: list[nn.Parameter] = [*network.weights, network.log_scales]
    before = [parameter.requires_grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        with Display("int8=train", start=0, steps=settings.steps, quiet=quiet) as display:
            for step, batch in enumerate(batches, 1):
                terms = distiller(batch.image, batch.label, step)
                loss = torch.stack(list(terms.values())).sum()
                if not loss.isfinite():
                    raise SegdistillError(f"The loss of int8=train is not finite at step {step}. Try a lower lr=.")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                rate.step()
                display.step(step, {name: float(value.detach()) for name, value in terms.items()})
    finally:
        for parameter, wanted in zip(parameters, before, strict=True):
            parameter.requires_grad_(wanted)
            parameter.grad = None


def _distiller(
    network: SimulatedNetwork, teacher: SegmentationNetwork, data: SegmentationDataset, recipe: Recipe
) -> Distiller:
    """The step's loss: the recipe's task loss and plain `kd`, which reads logits only."""
    output = probe(teacher)
    example: dict[str, Any] = {"student": output, "teacher": output, "num_classes": len(data.classes)}
    method = create_method("kd", **example, class_balance=recipe.class_balance)
    distiller = Distiller(network, [method], teacher, task=recipe.task_loss)
    distiller.class_weights = class_weights(data, recipe.class_balance)
    return distiller
