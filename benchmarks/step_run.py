"""One measured run for `step.py`: its numbers as a line of JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import torch
from clock import PARTS, timed

import segdistill
from segdistill.data import create_dataset
from segdistill.data.loading import Share, training_batches
from segdistill.data.stream import Stream
from segdistill.recipe.recipe import Recipe
from segdistill.runs.folder import RunFolder
from segdistill.runtime.display import Display
from segdistill.runtime.processes import own_device
from segdistill.training import loop
from segdistill.training.fit import fit as train_task
from segdistill.training.plan import resolve
from segdistill.training.task import Task

SWITCHES = (
    "freed memory given back", "optimiser not fused", "channels_last=false", "workers=0", "teacher in bf16",
    "teacher.cache=logits",
)  # fmt: skip
_LEFT_OUT = 3  # first steps, which warm up


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["step", "compile", "loading", "memory"])
    parser.add_argument("words", nargs="+")
    parser.add_argument("--method", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--switch", default="")
    options = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as place:
        words = [*options.words, f"steps={options.steps}", "workers=1", f"out={Path(place) / 'run'}"]
        words += ["baseline=none", *([] if options.method == "none" else [options.method])]
        if "=" in options.switch:
            words.append(options.switch)
        recipe = segdistill.load_recipe(*words)
        kinds = {"step": step, "compile": compiling, "loading": loading, "memory": memory}
        with switched(options.switch):
            print(json.dumps(kinds[options.kind](recipe, options.method != "none")), flush=True)


def fit(recipe: Recipe, *, distils: bool) -> Iterator[Task]:
    """The task of a run; then, when the generator goes on, the run itself."""
    assert recipe.out is not None
    folder = RunFolder(recipe.out)
    task = resolve(recipe, distills=distils).task_with_teacher()
    folder.open(recipe.model_dump(mode="json"), resume=False)
    yield task
    train_task(task, folder, quiet=True)


def step(recipe: Recipe, distils: bool) -> dict[str, Any]:
    """Median seconds of the steps' parts."""
    never = recipe.steps + 1
    recipe = recipe.model_copy(update={"validate_every": never, "checkpoint_every": never})
    run = fit(recipe, distils=distils)
    task = next(run)
    if "teacher in bf16" in _on:
        teacher = task.distiller.teacher
        if teacher is not None:
            teacher.forward = torch.autocast(own_device().type, torch.bfloat16)(teacher.forward)
    with timed(task.distiller, own_device()) as clock, short_validation():
        next(run, None)
    kept = clock.steps[_LEFT_OUT:]
    return {
        form: {part: statistics.median(getattr(each, form)[part] for each in kept) for part in PARTS}
        for form in ("wall", "processor")
    }


_on: set[str] = set()


@contextlib.contextmanager
def switched(name: str) -> Iterator[None]:
    """While entered, a library that lacks what is named so."""
    _on.add(name)
    with contextlib.ExitStack() as stack:
        if name == "freed memory given back":
            stack.enter_context(mock.patch.object(loop, "keep_freed_memory"))
        if name == "optimiser not fused":
            plain = partial(torch.optim.AdamW)
            stack.enter_context(mock.patch.object(torch.optim, "AdamW", lambda groups, fused: plain(groups)))
        yield


@contextlib.contextmanager
def short_validation() -> Iterator[None]:
    """A run's last step is validated; nothing of it is measured."""
    with mock.patch.object(loop.Validation, "__call__", return_value=_NoScores()):
        yield


class _NoScores:
    miou = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {}


def compiling(recipe: Recipe, distils: bool) -> dict[str, Any]:
    """What the trial of `compile=auto` found."""
    run = fit(recipe.model_copy(update={"compile": "auto"}), distils=distils)
    next(run)
    with short_validation():
        next(run, None)
    assert recipe.out is not None
    result: dict[str, Any] = json.loads((recipe.out / "environment.json").read_text())["compile"]
    return result


def loading(recipe: Recipe, distils: bool) -> dict[str, Any]:
    """Seconds of one processor for a batch; of a step; and how long a run waits for its worker."""
    stream = Stream(create_dataset(recipe.data, "train"), recipe.augment, recipe.seed)
    batches = training_batches(stream, Share(recipe.batch_size), start=0, stop=recipe.steps, workers=0)
    times = []
    while True:
        began = time.process_time()
        if next(batches, None) is None:
            break
        times.append(time.process_time() - began)
    done = step(recipe, distils)
    return {
        "batch": statistics.median(times[_LEFT_OUT:]),
        "step": sum(done["processor"].values()),
        "waited": done["wall"]["data"],
    }


def memory(recipe: Recipe, distils: bool) -> dict[str, Any]:
    """Resident megabytes at ten steps of a run, and the most after step 200 above that at step 200."""
    resident: dict[int, float] = {}
    original = Display.step
    process = psutil.Process()

    def note(display: Display, done: int, terms: dict[str, float]) -> None:
        original(display, done, terms)
        resident[done] = process.memory_info().rss / 1e6

    if recipe.teacher.weights is None:  # an untrained one costs the same
        assert recipe.out is not None
        place = recipe.out.with_name("teacher")
        once = recipe.teacher.model_copy(update={"train": {"steps": 1}})
        changes = {"role": "teacher", "method": [], "out": place, "teacher": once}
        resolve(recipe.model_copy(update=changes), distills=False).run(quiet=True)
        recipe = recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"weights": str(place)})})
    with mock.patch.object(Display, "step", note):
        job = fit(recipe, distils=distils)
        next(job)
        next(job, None)
    every = max(1, recipe.steps // 10)
    late = [value for done, value in resident.items() if done > 200]
    return {
        "resident": {done: value for done, value in resident.items() if done % every == 0 or done == 200},
        "growth": max(late, default=0.0) - resident.get(200, 0.0),
    }


if __name__ == "__main__":
    sys.exit(main())
