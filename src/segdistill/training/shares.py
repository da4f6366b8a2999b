"""Which part of every global batch a process takes, and what a number of processes can't share."""

from __future__ import annotations

import torch

from segdistill.core.errors import RecipeError
from segdistill.data.loading import Share
from segdistill.recipe.recipe import Recipe
from segdistill.recipe.training import TrainingConfig
from segdistill.runtime.processes import number_of_processes, process_index


def own_batches(config: TrainingConfig) -> Share:
    """This process's share of every global batch.

    Args:
        config: Its batch size and micro-batches.

    Returns:
        Which positions this process reads.

    Raises:
        RecipeError: The batch can't be shared evenly.
    """
    processes = number_of_processes()
    _require_even(config.batch_size, config.grad_accumulation, processes, "batch_size")
    return Share(config.batch_size, process_index(), processes, config.grad_accumulation)


def require_possible(recipe: Recipe, processes: int | None = None) -> None:
    """Refuse what several processes can't do: share an odd batch, norm over processors or what is derived twice.

    Args:
        recipe: Of the run.
        processes: How many; None for those of this run.

    Raises:
        RecipeError: They can't train it.
    """
    processes = number_of_processes() if processes is None else processes
    if recipe.sync_bn and processes > 1 and not torch.accelerator.is_available():
        raise RecipeError(
            "sync_bn=true: torch synchronises batch norm on GPUs only, and this run would train on processors. Leave "
            "sync_bn out."
        )
    synchronised = torch.accelerator.is_available() if recipe.sync_bn is None else recipe.sync_bn
    penalised = any(each.name == "adversary" and each.options.get("loss") == "wgan-gp" for each in recipe.method)
    if synchronised and processes > 1 and penalised:
        raise RecipeError(
            "method.adversary.loss=wgan-gp: its gradient penalty needs second derivatives, which torch's synchronised "
            "batch norm does not have. Set sync_bn=false, or method.adversary.loss=hinge."
        )
    _require_even(recipe.batch_size, recipe.grad_accumulation, processes, "batch_size")
    if recipe.teacher.weights is None and recipe.teacher.network is not None:
        config = recipe.teacher_training()
        _require_even(config.batch_size, config.grad_accumulation, processes, "teacher.train.batch_size")


def _require_even(batch_size: int, grad_accumulation: int, processes: int, key: str) -> None:
    pieces = processes * grad_accumulation
    if batch_size % pieces:
        raise RecipeError(
            f"{key} {batch_size} can't be shared by {processes} processes in {grad_accumulation} micro-batches; choose "
            f"a multiple of {pieces}."
        )
