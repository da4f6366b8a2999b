"""`profile --step`: the parts of real steps, and advice that fits them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

import segdistill
from segdistill.training import step_profile

PARTS = {"data", "teacher", "student", "losses", "optimizer", "rest"}


def test_the_parts_of_a_distillation_add_up_and_the_teacher_is_one(tiny: tuple[str, ...]) -> None:
    profile = segdistill.profile_step(*tiny, "kd", timed=2)
    assert set(profile.milliseconds) == PARTS
    assert all(each > 0 for each in profile.milliseconds.values())
    assert sum(row["percent"] for row in profile.records()) == pytest.approx(100)
    assert profile.precision == "student fp32, teacher fp32"
    assert any("teacher.cache=logits" in line for line in profile.advice)


def test_a_student_alone_has_no_teacher_and_methods_that_read_features_no_cache(tiny: tuple[str, ...]) -> None:
    alone = segdistill.profile_step(*tiny[:5], "steps=4", "batch_size=4", "workers=0", "precision=fp32", timed=1)
    assert alone.milliseconds["teacher"] == 0
    assert alone.precision == "student fp32"
    tapping = segdistill.profile_step(*tiny, "at", timed=1)
    assert not any("cache" in line for line in tapping.advice)


def test_a_teacher_whose_answers_are_cached_takes_no_time_and_no_advice(tiny: tuple[str, ...]) -> None:
    cached = segdistill.profile_step(*tiny, "kd", "teacher.cache=logits", timed=1)
    assert cached.milliseconds["teacher"] == 0
    assert not any("teacher" in line for line in cached.advice)


def test_backward_passes_of_all_micro_batches_are_the_students(
    tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: list[str] = []
    mark = step_profile._Clock.mark

    def noted(self: step_profile._Clock, part: str) -> None:
        marks.append(part)
        mark(self, part)

    monkeypatch.setattr(step_profile._Clock, "mark", noted)
    segdistill.profile_step(*tiny, "kd", "grad_accumulation=4", timed=1)
    steps = marks.count("data")
    assert marks.count("teacher") == 4 * steps
    assert marks.count("rest") == steps  # reading the losses, once a step


def test_it_advises_bf16_where_that_is_faster(tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_profile, "computes_in_bf16", lambda device: True)
    monkeypatch.setattr(step_profile, "bf16_gain", lambda network, pixels, trains: 3.0)
    advice = segdistill.profile_step(*tiny, "kd", timed=1).advice
    assert any(line.startswith("precision=bf16 for the student") for line in advice)


def test_the_command_line_prints_the_parts(
    tiny: tuple[str, ...], segdistill: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = segdistill("profile", "--step", *tiny, "kd", "--json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["milliseconds"]) == PARTS
