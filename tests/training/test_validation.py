"""Validations on the way: fewer images, what is lines of long ones, and what a distillation will take in all."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import segdistill
from segdistill.data.spread import chosen
from segdistill.recipe.recipe import load_recipe
from segdistill.runs.checkpoint import Progress
from segdistill.runs.folder import RunFolder
from segdistill.runtime import display
from segdistill.runtime.display import Display
from segdistill.runtime.interruption import StopRequest
from segdistill.runtime.processes import start_accelerator
from segdistill.training import forecast, validation
from segdistill.training.forecast import Forecast, RunAhead
from segdistill.training.plan import Plan, resolve
from segdistill.training.task import make_task
from segdistill.training.validation import Validation

OVER_TINY = ("data.count=12", "validate_every=2", "steps=4")


def validated(run: Path) -> list[tuple[int, float]]:
    entries = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(entry["step"], entry["miou"]) for entry in entries if entry["kind"] == "validation"]


def test_images_are_spread_evenly_from_a_place_that_the_seed_draws() -> None:
    drawn = {tuple(chosen(100, 10, seed)) for seed in range(30)}
    assert 5 < len(drawn) <= 10
    assert all({b - a for a, b in itertools.pairwise(part)} == {10} for part in drawn)
    assert all(part[0] >= 0 and part[-1] < 100 for part in drawn)
    assert chosen(100, 10, 3) == chosen(100, 10, 3)
    assert [chosen(7, None), chosen(3, 9, 5), chosen(0, 4, 1), chosen(10, 4)] == [
        [*range(7)],
        [0, 1, 2],
        [],
        [0, 2, 5, 7],
    ]


def test_validations_on_the_way_look_at_fewer_images_and_the_last_at_all(
    tiny: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = segdistill.train(*tiny, *OVER_TINY, "validate_images=3", out=tmp_path / "few")
    shown = capsys.readouterr().err
    whole = segdistill.train(*tiny, *OVER_TINY, out=tmp_path / "whole", quiet=True)
    assert (tmp_path / "few/student.safetensors").read_bytes() == (tmp_path / "whole/student.safetensors").read_bytes()
    (two, part), (four, last) = validated(tmp_path / "few")
    assert (two, four) == (2, 4)
    assert [last, part == last] == [validated(tmp_path / "whole")[-1][1], False]
    assert "step 2: mIoU" in shown
    assert "on validation (3 images)" in shown
    assert few.scores == whole.scores
    assert few.scores.miou == pytest.approx(segdistill.evaluate(tmp_path / "few", quiet=True).scores.miou, abs=1e-3)


def test_the_best_is_chosen_by_the_same_images_and_scored_on_all(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = (*tiny, *OVER_TINY, "keep=best", "validate_images=3")
    done = segdistill.train(*words, out=tmp_path / "run", quiet=True)
    again = segdistill.evaluate(tmp_path / "run", boundary=False, quiet=True)
    assert done.scores.miou == pytest.approx(again.scores.miou, abs=1e-3)


@pytest.mark.parametrize(("best_of", "best_step"), [(3, 1), (1, 2)])
def test_a_best_of_other_images_is_no_measure(
    best_of: int, best_step: int, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    """Few images may be easy: a resumed run that looks at more of them chooses its best weights anew."""
    recipe = load_recipe(*tiny, *OVER_TINY, "validate_images=3", f"out={tmp_path}")
    task = make_task(recipe, "student")
    progress = Progress(step=2, best_miou=99.0, best_step=1, best_of=best_of)
    validate = Validation(
        RunFolder(tmp_path), task.network, task.validation, config=task.config, inference=recipe.inference,
        metrics=recipe.metrics, accelerator=start_accelerator(), display=Display("x", start=0, steps=4, quiet=True),
    )  # fmt: skip
    validate(progress, StopRequest())
    validate.close()
    assert (progress.best_of, progress.best_step) == (3, best_step)


def test_a_training_does_not_validate_twice_at_its_end(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    count: Callable[..., Any] = validation.count

    def counted(*args: Any, **named: Any) -> Any:
        looked.append(len(named["loader"]))
        return count(*args, **named)

    monkeypatch.setattr(validation, "count", counted)
    monkeypatch.setattr("segdistill.commands.train.evaluate", lambda *args, **named: pytest.fail("validated again"))
    done = segdistill.train(*tiny, *OVER_TINY, out=tmp_path / "run", quiet=True)
    assert looked == [12, 12]
    assert done.scores.miou == validated(tmp_path / "run")[-1][1]


def test_a_validation_longer_than_the_training_so_far_is_announced(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = itertools.count(step=100)  # every look at it is 100 s after the last
    monkeypatch.setattr(display.time, "monotonic", lambda: float(next(clock)))
    words = "validate_every=1", "validate_images=8", "refit_images=4"
    segdistill.train(*tiny, *OVER_TINY, *words, out=tmp_path / "run")
    shown = capsys.readouterr().err
    assert shown.count("this validation of 8 images takes about") == 1
    assert "validate_images=N looks at fewer on the way" in shown
    assert "validation 4/8, " in shown
    assert "fit to images as tested, 4 times 8/16, " in shown


def test_a_distillation_says_what_it_takes(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = resolve(load_recipe(*tiny, "kd", "steps=1000", "teacher.train.steps=2000", out=tmp_path / "run"))
    assert isinstance(plan.teacher, Plan)
    assert isinstance(plan.alone, Plan)
    lines: list[str] = []
    tasks = [plan.teacher.task, plan.alone.task, plan.task]
    runs = [RunAhead(tasks[0]), RunAhead(tasks[1]), RunAhead(tasks[2], tasks[0].network)]
    work = [run.work() for run in runs]
    assert work[2] > work[1] > 0
    tasks[0].network.train()
    modes = [module.training for module in tasks[0].network.modules()]
    pace = Forecast(runs, lines.append).pace_of(tasks[0])
    clock = iter(range(100))
    monkeypatch.setattr(forecast.time, "monotonic", lambda: float(next(clock)))
    for _ in range(20):
        pace.step()
    assert modes == [module.training for module in tasks[0].network.modules()]
    assert len(lines) == 1
    minutes = 2000 * (1 + (work[1] + work[2]) / work[0] / 2) / 60
    assert lines[0].startswith(
        f"about {minutes:.0f} min for all of this: teacher alone 33 (2000 steps), student alone "
    )
    assert "kd " in lines[0]
