"""Optimisers and learning-rate schedules; the rate is a pure function of the step."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
from torch import nn

from segdistill.methods import Method
from segdistill.models.network import SegmentationNetwork
from segdistill.recipe.training import OptimizerConfig


def make_optimizer(
    config: OptimizerConfig,
    student: SegmentationNetwork,
    extra: nn.Module | None,
    method_optimizers: Iterable[torch.optim.Optimizer] = (),
    *,
    scaled: bool = False,
) -> torch.optim.Optimizer:
    """One optimizer over the student and the trained parts of the methods.

    Its step is torch's fused one where there is one, which differs from the plain one by rounding. On a processor it
    takes for granted that a gradient lies in memory as its parameter does, which is how autograd makes gradients.

    Args:
        config: The optimizer and its rates.
        student: The network that is trained.
        extra: The methods, if there are any.
        method_optimizers: Optimizers whose parameters are left to them.
        scaled: Whether a scaler may leave steps out, as in fp16. If that is the first step, torch's fused SGD (2.14)
            goes on with momentum from memory that nobody has written; so the step is the plain one.

    Returns:
        SGD or AdamW with a group for each rate and decay; "base_lr" of a group is its rate before the schedule.
    """
    excluded = set(parameters_of(method_optimizers))
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for module in (student, extra):
        for name, parameter in module.named_parameters() if module is not None else ():
            if not parameter.requires_grad or parameter in excluded:
                continue
            rate = 1.0 if module is student and student.section_of(name) == "backbone" else config.head_lr
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
    """New optimisers of the methods that have one of their own, see `Method.own_optimizer`.

    Args:
        methods: The methods of a run.

    Returns:
        In the order of the methods.
    """
    optimizers = [method.own_optimizer() for method in methods if isinstance(method, Method)]
    return [optimizer for optimizer in optimizers if optimizer is not None]


def parameters_of(optimizers: Iterable[torch.optim.Optimizer]) -> list[nn.Parameter]:
    """Everything that optimisers train.

    Args:
        optimizers: Of a run.

    Returns:
        Their parameters.
    """
    return [parameter for each in optimizers for group in each.param_groups for parameter in group["params"]]


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Set every group's rate to a multiple of its own base rate.

    Args:
        optimizer: That `make_optimizer` made.
        factor: The schedule's.

    Returns:
        The rate of the first group.
    """
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return float(optimizer.param_groups[0]["lr"])
