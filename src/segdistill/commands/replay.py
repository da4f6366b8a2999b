"""Making a step again that was not finite."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from segdistill.core.errors import RecipeError
from segdistill.core.outputs import SegOutput
from segdistill.recipe.recipe import load_recipe
from segdistill.runs.folder import RunFolder
from segdistill.training.faults.replay import (
    Replay,
    broken_shares,
    broken_weight,
    first_spot,
    load_fault,
    repeat_from_checkpoint,
    repeat_step,
    restore_task,
)
from segdistill.training.faults.tracing import traced


def replay(run: str | Path, *parts: str | Path, step: int | None = None) -> Replay:
    """Run a step again that a run saved because its loss or gradient was not finite.

    run: the run's folder. step: counted from 1; default the first saved. parts: recipe parts over the run's own, as
    "data.root=..." or "precision=fp32". Tried: the step as it was; in fp32, if it was not; and with a quarter of the
    learning rate since the last checkpoint before it, if there is one within 200 steps. Nothing of the run is changed.
    """
    file = _file(Path(run), step)
    saved = load_fault(file)
    folder = RunFolder(file.parents[1])
    recipe = load_recipe(folder.recipe, *parts)
    task, config = restore_task(recipe, folder, saved)
    distiller = task.distiller
    outputs: list[SegOutput] = []
    handle = task.network.register_forward_hook(lambda module, given, made: outputs.append(made))
    networks = {"student": distiller.student, "teacher": distiller.teacher}
    with traced({role: network for role, network in networks.items() if network is not None}) as trace:
        first = repeat_step(task, config, saved, "as it was")
    handle.remove()
    trials, notes = [first], []
    if config.precision != "fp32":
        fp32 = config.model_copy(update={"precision": "fp32"})
        trials.append(repeat_step(task, fp32, saved, "in fp32"))
    if not first.finite:
        lower, note = repeat_from_checkpoint(recipe, task, config, folder, saved)
        trials += lower
        notes += note
    names = tuple(name for part in saved["names"] for name in part)
    labels = torch.cat([*saved["labels"]])
    spot = first_spot(trace, first)
    return Replay(
        file=file,
        step=saved["step"] + 1,
        precision=config.precision,
        names=names,
        positions=tuple(place for part in saved["positions"] for place in part),
        recorded=saved["terms"],
        trials=tuple(trials),
        broken=broken_weight(saved),
        spot=spot,
        images=tuple(saved["names"][spot.call][row] for row in spot.rows) if spot else (),
        classes=broken_shares(outputs, labels, task.data.classes.names),
        notes=tuple(notes),
    )


def _file(run: Path, step: int | None) -> Path:
    files = {
        int(match.group(1)): file
        for folder in (run / "teacher", run / "alone", run)
        for file in sorted((folder / "faults").glob("step-*.pt"), reverse=True)
        if (match := re.match(r"step-(\d+)", file.name))
    }
    if not files:
        raise RecipeError(
            f"{run} holds no saved step: no file faults/step-N.pt. A run writes one when a loss or gradient "
            "is not finite."
        )
    if step is not None and step not in files:
        raise RecipeError(f"{run} holds no saved step {step}; it has {', '.join(map(str, sorted(files)))}.")
    return files[min(files) if step is None else step]
