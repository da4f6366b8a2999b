"""A teacher that is trained for less than its student is spoken of before and after."""

from __future__ import annotations

from pathlib import Path

import pytest

import segdistill
from segdistill.commands.recipe import recipe

NOTE = "alone the student may get as far as its teacher"


def test_a_teacher_of_fewer_steps_is_named_before_anything_is_trained(
    tiny: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = (*tiny, "kd", "steps=3", "baseline=none", "teacher.train.steps=2")
    segdistill.distill(*short, out=tmp_path / "short")
    assert f"its training has 2 steps of 4 images, its student's 3 steps of 4 images: {NOTE}" in _printed(capsys)
    teacher = (f"teacher.weights={tmp_path / 'short' / 'teacher'}", "teacher.check=false")
    segdistill.distill(*short, *teacher, out=tmp_path / "again")
    assert "a teacher that was trained for longer" in _printed(capsys)
    segdistill.distill(*short, *teacher, "steps=2", out=tmp_path / "even")
    assert NOTE not in _printed(capsys)
    two = f"teacher.weights=[{tmp_path / 'short' / 'teacher'}, streets_teacher]"
    segdistill.distill(*short, two, "teacher.check=false", out=tmp_path / "two")
    assert NOTE not in _printed(capsys)  # the longer of the two has 4,000 steps


def test_studies_and_runs_that_may_go_on_say_it_once(
    tiny: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = (*tiny, "kd", "steps=3", "teacher.train.steps=2")
    for _ in range(2):
        segdistill.distill(*short, "baseline=none", out=tmp_path / "run", resume="auto")
    assert _printed(capsys).count(NOTE) == 1
    for _ in range(2):
        segdistill.compare(*short, seeds="0", out=tmp_path / "study")
    assert _printed(capsys).count(NOTE) == 1


def test_recipe_warns_of_it() -> None:
    assert any(NOTE in warning for warning in recipe("camvid", "mobile_pair", "steps=9000").warnings)
    assert not any(NOTE in warning for warning in recipe("camvid", "mobile_pair", "preset=medium").warnings)


def _printed(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())
