"""A step whose loss or gradient was not finite, run again from its saved batch and weights."""

from __future__ import annotations

import math
import pickle
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segdistill.core.errors import CheckpointError, RecipeError, TrainingError
from segdistill.core.outputs import SegOutput
from segdistill.core.seeds import mix
from segdistill.data.loading import Batch, Stream
from segdistill.methods.base import on_grid
from segdistill.models.teacher import Teacher
from segdistill.recipe.recipe import Recipe
from segdistill.recipe.training import TrainingConfig
from segdistill.runs.checkpoint import damage, load_state, save_state
from segdistill.runs.folder import RunFolder
from segdistill.runtime.processes import own_device
from segdistill.training.faults.nonfinite import bad_gradients, first_not_finite, read
from segdistill.training.faults.tracing import Spot, Trace
from segdistill.training.loop import Trainer
from segdistill.training.pairing import run_teacher
from segdistill.training.plan import make_distilled, teacher_network
from segdistill.training.stepper import forward_backward
from segdistill.training.task import Task, make_task, open_splits
from segdistill.training.teacher_cache import cached_logits

_FAR = 200  # steps since the last checkpoint that are run again at most
_LOWER = 0.25


@dataclass(frozen=True)
class Trial:
    """The step once more. what: was changed. terms: of the loss. gradients: parameters whose is not finite.

    error: what stopped it before the step.
    """

    what: str
    terms: dict[str, float]
    gradients: tuple[str, ...] = ()
    error: str = ""

    @property
    def finite(self) -> bool:
        """Whether all is."""
        return not self.error and not self.gradients and all(map(math.isfinite, self.terms.values()))


@dataclass(frozen=True)
class Replay:
    """What a saved step shows. step: counted from 1. recorded: the terms in the run. trials: the first is as it was.

    broken: a tensor of the student that was not finite before the step. spot: where it first arises in the networks;
    None: not in them, but in `terms`. images: the samples in which it does. classes: share of the label's positions
    whose scores by the student are not finite in the end. notes: what was not tried.
    """

    file: Path
    step: int
    precision: str
    names: tuple[str, ...]
    positions: tuple[int, ...]
    recorded: dict[str, float]
    trials: tuple[Trial, ...]
    broken: str | None
    spot: Spot | None
    images: tuple[str, ...]
    classes: dict[str, float]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which knows no NaN: those are text."""
        trials = [{**asdict(trial), "finite": trial.finite} for trial in self.trials]
        plain: dict[str, Any] = _plain({**asdict(self), "trials": trials})
        return plain

    def lines(self) -> list[str]:
        """For people."""
        who = ", ".join(f"{name} ({place})" for name, place in zip(self.names, self.positions, strict=True))
        told = [f"{self.file}: step {self.step} in {self.precision}; samples (positions) {who}"]
        told += [f"in the run: {_terms(self.recorded)}"]
        for trial in self.trials:
            result = "finite" if trial.finite else trial.error or "NOT finite"
            more = f"; {len(trial.gradients)} gradients are not, as of {trial.gradients[0]}" if trial.gradients else ""
            told.append(f"{trial.what}: {result}" + (f": {_terms(trial.terms)}{more}" if trial.terms else ""))
        if self.broken:
            told.append(f"The weights were broken before the step: {self.broken}.")
        bad = [name for name, value in self.trials[0].terms.items() if not math.isfinite(value)]
        if self.spot is not None:
            told.append(f"It first arises {self.spot}.")
        elif bad:
            told.append(f"All outputs of the networks are finite; it arises in the loss: {', '.join(bad)}.")
        if self.images:
            told.append(f"It arises in {len(self.images)} of {len(self.names)} images: {', '.join(self.images)}.")
        if self.classes:
            listed = ", ".join(f"{name} {100 * share:.1f} %" for name, share in self.classes.items())
            told.append(f"Positions with scores that are not finite in the end, by class: {listed}.")
        return [*told, *self.notes]


def load_fault(file: Path) -> dict[str, Any]:
    """The saved step in `file`, verified by its checksum."""
    try:
        if fault := damage(file):
            raise RuntimeError(fault)
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        content["state"], content["images"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"Can't read the saved step {file}: {error}. The run would write it again.") from error
    return content


def restore_task(recipe: Recipe, folder: RunFolder, saved: dict[str, Any]) -> tuple[Task, TrainingConfig]:
    """What the run trained, as it was before the step."""
    splits = open_splits(recipe)
    if saved["distils"]:
        teacher = run_teacher(recipe, folder.path, splits.train.classes)
        if teacher is None:
            raise RecipeError(f"The teacher of {folder.path} is gone; name it with teacher.run=FOLDER.")
        task = make_distilled(recipe, teacher, splits)
        task.distiller.set_teacher(teacher_network(teacher))
    else:
        task = make_task(recipe, recipe.role, splits=splits)
    task.distiller.class_weights = saved["class_weights"]
    device = own_device()
    layout = torch.channels_last if task.config.channels_last else torch.contiguous_format
    for module in (task.distiller, task.distiller.teacher):
        if module is not None:
            module.to(device, memory_format=layout)  # type: ignore[call-overload]
    return task, task.config


def repeat_step(task: Task, config: TrainingConfig, saved: dict[str, Any], what: str) -> Trial:
    """Forward and backward of the saved step."""
    distiller = task.distiller
    distiller.load_state_dict(saved["state"])
    distiller.zero_grad(set_to_none=True)
    distiller.train()
    device = own_device()
    names = [tuple(part) for part in saved["names"]]
    targets = saved.get("targets") or [None] * len(names)
    parts = zip(saved["images"], saved["labels"], names, targets, strict=True)
    batches = [Batch(image, label, name, target=target).to(device) for image, label, name, target in parts]
    torch.manual_seed(mix(saved["config"]["seed"], saved["step"], saved["rank"]))
    fp16 = config.precision == "fp16"
    scaler = torch.amp.GradScaler(device.type, init_scale=saved["scale"] if fp16 else 1.0, enabled=fp16)
    terms = forward_backward(distiller, batches, saved["step"], precision=config.precision, scaler=scaler)
    return Trial(what, read(terms).terms, tuple(bad_gradients(distiller)))


def repeat_from_checkpoint(
    recipe: Recipe, task: Task, config: TrainingConfig, folder: RunFolder, saved: dict[str, Any]
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
    targets = None
    if recipe.teacher.cache != "off" and isinstance(teacher := task.distiller.teacher, Teacher):
        kept = recipe.teacher.cache_folder or folder.teacher_logits
        targets = cached_logits(teacher, task.data, config, kept)
        if targets is None:
            return [], [f"A lower learning rate was not tried: the teacher's cached logits are gone from {kept}."]
    task.distiller.zero_grad(set_to_none=True)  # what the trials before left
    never = config.steps + 1
    changes = {"validate_every": never, "checkpoint_every": never, "on_nonfinite": "stop", "workers": 0}
    quiet = config.model_copy(update={**changes, "compile": False})
    what = f"with {_LOWER:g} of the learning rate from step {progress.step} on"
    with tempfile.TemporaryDirectory() as place:
        aside = RunFolder(Path(place))
        save_state(aside.last, replace(progress, rate=progress.rate * _LOWER), states)
        try:
            Trainer(
                title="replay", folder=aside, distiller=task.distiller,
                stream=Stream(task.data, recipe.augment, config.seed, targets), validation=task.validation,
                config=quiet, inference=recipe.inference, metrics=recipe.metrics, quiet=True, until=saved["step"] + 1,
            ).train()  # fmt: skip
        except TrainingError as error:
            return [Trial(what, {}, error=str(error).partition(f" in {config.precision};")[0])], []
    return [Trial(what, {})], []


def broken_weight(saved: dict[str, Any]) -> str | None:
    """The name of the first weight of the saved student that is not finite."""
    state = {name: value for name, value in saved["state"].items() if name.startswith("student.")}
    return first_not_finite(state)


def first_spot(trace: Trace, first: Trial) -> Spot | None:
    """Forward, if it is there; backward only where the loss was finite."""
    if trace.forward is not None or not all(map(math.isfinite, first.terms.values())):
        return trace.forward
    return trace.backward


def broken_shares(outputs: list[SegOutput], labels: Tensor, classes: tuple[str, ...]) -> dict[str, float]:
    """By class of the label, the share of positions with scores that are not finite; of the classes that have such."""
    logits = torch.cat([output.logits.detach().cpu() for output in outputs])
    bad = ~logits.isfinite().all(1)
    grid = on_grid(labels, logits)
    shares = {name: bad[grid == index] for index, name in enumerate(classes)}
    return {name: float(share.float().mean()) for name, share in shares.items() if share.any()}


def _terms(terms: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in terms.items())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Path) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return value
