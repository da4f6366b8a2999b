"""Optimisers and learning-rate schedules; the rate is a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from segdistill.core.numbers import NonNegative
from segdistill.methods import Method
from segdistill.models.network import SegmentationNetwork


class OptimizerConfig(BaseModel):
    """SGD (momentum 0.9) or AdamW. head_lr: factor on the rate of all that is not the backbone.

    decay_norms: whether weight decay also acts on biases and normalisation layers, as in the published protocols.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.01, gt=0)
    weight_decay: NonNegative = 5e-4
    momentum: float = Field(0.9, ge=0, lt=1)
    head_lr: float = Field(1.0, gt=0)
    decay_norms: bool = True


class ScheduleConfig(BaseModel):
    """Poly: lr * (1 - step/steps)^power, not below min_lr * lr; cosine: the half wave between the same ends.

    warmup: steps of linear rise from lr / warmup.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["poly", "cosine", "constant"] = "poly"
    power: NonNegative = 0.9
    warmup: int = Field(0, ge=0)
    min_lr: float = Field(0.0, ge=0, le=1)

    def factor(self, step: int, steps: int) -> float:
        """What the base rate is multiplied with at the 0-based `step` of `steps`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, steps - self.warmup)
        if self.name == "poly":
            shape = math.pow(1 - progress, self.power)
        elif self.name == "cosine":
            shape = 0.5 * (1 + math.cos(math.pi * progress))
        else:
            shape = 1.0
        return self.min_lr + (1 - self.min_lr) * shape


def make_optimizer(
    config: OptimizerConfig,
    student: SegmentationNetwork,
    extra: nn.Module | None,
    own: Iterable[torch.optim.Optimizer] = (),
    *,
    scaled: bool = False,
) -> torch.optim.Optimizer:
    """One optimiser over the student and the trained parts of the methods (`extra`) that `own` ones don't have.

    Its step is torch's fused one where there is one, which differs from the plain one by rounding. On a processor it
    takes for granted that a gradient lies in memory as its parameter does, which is how autograd makes gradients.
    scaled: whether a scaler may leave steps out, as in fp16. If that is the first step, torch's fused SGD (2.14) goes
    on with momentum from memory that nobody has written; so the step is the plain one.
    """
    taken = set(parameters_of(own))
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for module in (student, extra):
        for name, parameter in module.named_parameters() if module is not None else ():
            if not parameter.requires_grad or parameter in taken:
                continue
            rate = 1.0 if module is student and student.part_of(name) == "backbone" else config.head_lr
            decays = config.decay_norms or parameter.ndim > 1
            groups.setdefault((rate, decays), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "lr": config.lr * rate,
            "base_lr": config.lr * rate,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (rate, decays), parameters in groups.items()
    ]
    fused = not scaled and all(
        each.device.type in ("cpu", "cuda") and each.is_floating_point() for each in chain(*groups.values())
    )
    if config.name == "adamw":
        return torch.optim.AdamW(settings, fused=fused)
    return torch.optim.SGD(settings, momentum=config.momentum, fused=fused)


def own_optimizers(methods: Iterable[nn.Module]) -> list[torch.optim.Optimizer]:
    """New optimisers of the methods that have one of their own, see `Method.own_optimizer`."""
    found = [method.own_optimizer() for method in methods if isinstance(method, Method)]
    return [optimizer for optimizer in found if optimizer is not None]


def parameters_of(optimizers: Iterable[torch.optim.Optimizer]) -> list[nn.Parameter]:
    """Everything that the optimisers train."""
    return [parameter for each in optimizers for group in each.param_groups for parameter in group["params"]]


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Scale every group's own base rate; returns the rate of the first group."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return float(optimizer.param_groups[0]["lr"])
