"""A step whose loss or gradient was not finite, run again from its saved batch and weights."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segdistill.core.errors import RecipeError, TrainingError
from segdistill.core.outputs import SegOutput
from segdistill.core.seeds import mix
from segdistill.data.loading import Batch
from segdistill.data.stream import Stream
from segdistill.evaluation.finite import first_not_finite
from segdistill.methods.base import on_grid
from segdistill.models.network import SegmentationNetwork
from segdistill.recipe.recipe import Recipe
from segdistill.recipe.training import TrainingConfig
from segdistill.runs.checkpoint import load_state, save_state
from segdistill.runs.folder import RunFolder
from segdistill.runtime.processes import own_device
from segdistill.training.faults.nonfinite import bad_gradients, read
from segdistill.training.faults.replay_result import Replay, Trial
from segdistill.training.faults.saved_step import load_saved_step
from segdistill.training.faults.tracing import Spot, Trace, traced
from segdistill.training.loop import Trainer
from segdistill.training.pairing import run_teacher
from segdistill.training.plan import plan_student
from segdistill.training.precision_trial import as_recorded
from segdistill.training.stepper import forward_backward
from segdistill.training.task import Task, make_task, open_splits
from segdistill.training.teacher_cache import cached_logits, cached_view

_FAR = 200  # steps since the last checkpoint that are run again at most
_LOWER = 0.25


def replay_step(recipe: Recipe, folder: RunFolder, file: Path) -> Replay:
    """Make a saved step again: as it was, watched module by module, then with what may cure it.

    Args:
        recipe: Of the run, or with what the user changes.
        folder: Of the run; nothing in it is changed.
        file: The saved step.

    Returns:
        What the trials showed.

    Raises:
        CheckpointError: The saved step can't be read.
        RecipeError: The run's teacher is gone.
    """
    saved = load_saved_step(file)
    task = _restore_task(recipe, folder, saved)
    config, distiller = task.config, task.distiller
    outputs: list[SegOutput] = []
    handle = task.network.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    networks = {"student": distiller.student, "teacher": distiller.running_teacher}
    with traced({role: network for role, network in networks.items() if network is not None}) as trace:
        first = _repeat_step(task, config, saved, "as it was")
    handle.remove()
    trials, notes = [first], []
    if config.computes_in != "fp32":
        fp32 = config.model_copy(update={"precision": "fp32"})
        trials.append(_repeat_step(task, fp32, saved, "in fp32"))
    if not first.finite:
        lower, note = _repeat_from_checkpoint(recipe, task, folder, saved)
        trials += lower
        notes += note
    spot = _first_spot(trace, first)
    return Replay(
        file=file,
        step=saved["step"] + 1,
        precision=config.computes_in,
        names=tuple(name for batch in saved["names"] for name in batch),
        positions=tuple(index for batch in saved["positions"] for index in batch),
        recorded=saved["terms"],
        trials=tuple(trials),
        broken=_broken_weight(saved),
        spot=spot,
        images=tuple(saved["names"][spot.call][row] for row in spot.rows) if spot else (),
        classes=_broken_shares(outputs, torch.cat([*saved["labels"]]), task.data.classes.names),
        notes=tuple(notes),
    )


def _restore_task(recipe: Recipe, folder: RunFolder, saved: dict[str, Any]) -> Task:
    """What the run trained, as it was before the step."""
    splits = open_splits(recipe)
    if saved["distils"]:
        teacher = run_teacher(recipe, folder.path, splits.train.classes)
        if teacher is None:
            raise RecipeError(f"The teacher of {folder.path} is gone; name it with teacher.weights=FOLDER.")
        task = plan_student(recipe, splits, teacher).task_with_teacher()
    else:
        task = make_task(recipe, recipe.role, splits=splits)
    task = as_recorded(task, folder)
    task.distiller.class_weights = saved["class_weights"]
    device = own_device()
    layout = torch.channels_last if task.config.channels_last else torch.contiguous_format
    for module in (task.distiller, task.distiller.teacher):
        if module is not None:
            module.to(device, memory_format=layout)  # type: ignore[call-overload]
    task.distiller.fold_teacher(recipe.augment.crop)
    return task


def _repeat_step(task: Task, config: TrainingConfig, saved: dict[str, Any], what: str) -> Trial:
    """Forward and backward of the saved step."""
    distiller = task.distiller
    distiller.load_state_dict(saved["state"])
    distiller.zero_grad(set_to_none=True)
    distiller.train()
    device = own_device()
    names = [tuple(batch) for batch in saved["names"]]
    targets = saved.get("targets") or [None] * len(names)
    micro_batches = zip(saved["images"], saved["labels"], names, targets, strict=True)
    batches = [Batch(image, label, name, target=target).to(device) for image, label, name, target in micro_batches]
    torch.manual_seed(mix(saved["config"]["seed"], saved["step"], saved["rank"]))
    fp16 = config.computes_in == "fp16"
    scaler = torch.amp.GradScaler(device.type, init_scale=saved["scale"] if fp16 else 1.0, enabled=fp16)
    terms = forward_backward(distiller, batches, saved["step"], precision=config.computes_in, scaler=scaler)
    return Trial(what, read(terms).terms, tuple(bad_gradients(distiller)))


def _repeat_from_checkpoint(
    recipe: Recipe, task: Task, folder: RunFolder, saved: dict[str, Any]
) -> tuple[list[Trial], list[str]]:
    """The steps since the last checkpoint with a lower rate, in a folder of their own; or why that was not tried."""
    if not folder.last.exists():
        return [], ["A lower learning rate was not tried: there is no checkpoint to start from."]
    progress, states = load_state(folder.last)
    steps = saved["step"] - progress.step
    if not 0 < steps <= _FAR:
        return [], [
            f"A lower learning rate was not tried: the checkpoint is of step {progress.step}, and it would have to be "
            f"1 to {_FAR} steps before this one."
        ]
    config, targets = task.config, None
    if recipe.teacher.cache != "off" and isinstance(teacher := task.distiller.teacher, SegmentationNetwork):
        cache = recipe.teacher.cache_folder or folder.teacher_logits
        targets = cached_logits(
            cached_view(teacher, recipe), task.data, recipe.augment.crop, task.teacher_config, cache
        )
        if targets is None:
            return [], [f"A lower learning rate was not tried: the teacher's cached logits are gone from {cache}."]
    task.distiller.zero_grad(set_to_none=True)  # what the trials before left
    never = config.steps + 1
    changes = {"validate_every": never, "checkpoint_every": never, "on_nonfinite": "stop", "workers": 0}
    quiet = config.model_copy(update={**changes, "compile": False})
    what = f"with {_LOWER:g} of the learning rate from step {progress.step} on"
    with tempfile.TemporaryDirectory() as temporary:
        aside = RunFolder(Path(temporary))
        save_state(aside.last, replace(progress, rate=progress.rate * _LOWER), states)
        try:
            Trainer(
                title="replay", folder=aside, distiller=task.distiller,
                stream=Stream(task.data, recipe.augment, config.seed, targets), validation=task.validation,
                config=quiet, inference=recipe.inference, metrics=recipe.metrics, quiet=True, until=saved["step"] + 1,
            ).train()  # fmt: skip
        except TrainingError as error:
            return [Trial(what, {}, error=str(error).partition(f" in {config.computes_in};")[0])], []
    return [Trial(what, {})], []


def _broken_weight(saved: dict[str, Any]) -> str | None:
    """The name of the first weight of the saved student that is not finite."""
    state = {name: value for name, value in saved["state"].items() if name.startswith("student.")}
    return first_not_finite(state)


def _first_spot(trace: Trace, first: Trial) -> Spot | None:
    """Forward, if it is there; backward only where the loss was finite."""
    if trace.forward is not None or not all(map(math.isfinite, first.terms.values())):
        return trace.forward
    return trace.backward


def _broken_shares(outputs: list[SegOutput], labels: Tensor, classes: tuple[str, ...]) -> dict[str, float]:
    """By class of the label, the share of positions with scores that are not finite; of the classes that have such."""
    logits = torch.cat([output.logits.detach().cpu() for output in outputs])
    bad = ~logits.isfinite().all(1)
    grid = on_grid(labels, logits)
    shares = {name: bad[grid == index] for index, name in enumerate(classes)}
    return {name: float(share.float().mean()) for name, share in shares.items() if share.any()}
