"""What a run needs, made and checked before its folder is touched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from segdistill.core.errors import RecipeError
from segdistill.core.seeds import mix
from segdistill.data import SegmentationDataset, create_dataset
from segdistill.methods import Method, create_method
from segdistill.models.build import build, probe
from segdistill.models.network import SegmentationNetwork
from segdistill.models.spec import NetworkSpec, Role
from segdistill.recipe.recipe import Recipe
from segdistill.recipe.training import TrainingConfig
from segdistill.training.distiller import Distiller
from segdistill.training.pairing import require_readable
from segdistill.training.teacher_cache import require_logits_only


@dataclass(frozen=True)
class Task:
    """What a run needs, made and checked before its folder is touched."""

    role: Role
    spec: NetworkSpec
    config: TrainingConfig
    data: SegmentationDataset
    validation: SegmentationDataset
    network: SegmentationNetwork
    distiller: Distiller


def prepare_task(recipe: Recipe, role: Role, *, teacher: nn.Module | None, obstacle: str = "") -> Task:
    """The run of the recipe's `role`, taught by `teacher` if there is one; nothing is trained or written yet."""
    spec = recipe.student if role == "student" else recipe.teacher.network
    config = recipe.training() if role == "student" else recipe.teacher_training()
    if spec is None:
        key = "student" if role == "student" else "teacher.network"
        raise RecipeError(f"The recipe has no {role}. Name a pair, such as mobile_pair, or set {key}.")
    data, validation = (create_dataset(recipe.data, split) for split in ("train", "val"))
    # A student of a seed starts the same whether a teacher watches or not.
    torch.manual_seed(mix(config.seed))
    network = build(spec, len(data.classes))
    methods = [] if teacher is None else _methods(recipe, network, teacher, len(data.classes), obstacle)
    factors = [partial(method.schedule.factor, steps=config.steps) for method in recipe.method] if methods else []
    distiller = Distiller(network, methods, teacher, factors, config.task_loss)
    return Task(role, spec, config, data, validation, network, distiller)


def _methods(recipe: Recipe, student: nn.Module, teacher: nn.Module, num_classes: int, obstacle: str) -> list[Method]:
    """The recipe's methods for the pair; refused if they read logits that an `obstacle` makes unreadable."""
    example = {"student": probe(student), "teacher": probe(teacher)}
    if obstacle:  # what a method reads is known once it is made, so it is made for logits that would do
        logits = example["teacher"].logits
        like = logits.new_zeros(len(logits), num_classes, *logits.shape[2:])
        example["teacher"] = replace(example["teacher"], logits=like)
    methods = [
        create_method(method.name, **example, num_classes=num_classes, **method.options) for method in recipe.method
    ]
    names = [method.name for method in recipe.method]
    require_readable(methods, names, obstacle)
    if recipe.teacher.cache != "off":
        require_logits_only(methods, names)
    return methods
