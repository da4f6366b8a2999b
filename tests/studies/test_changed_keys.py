"""Which keys of the recipe may change when a study goes on, and that they then count."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from segdistill import compare
from segdistill.core.errors import TrainingError
from segdistill.recipe.recipe import load_recipe
from segdistill.studies.methods import read_methods
from segdistill.studies.plan import Budget, Plan


def plan(*words: str, steps: dict[str, int] | None = None) -> Plan:
    recipe = load_recipe("streets", "tiny_pair", "steps=4", *words)
    return Plan(recipe=recipe, methods=read_methods("kd"), seeds=(0,), budget=Budget(steps=4), steps=steps or {})


def test_keys_that_a_resumed_run_may_change_are_the_later_ones(tmp_path: Path) -> None:
    words = ("workers=0", "on_unreadable=skip", "grad_accumulation=2", "log=[]", "data.decoded=kept", "refit_images=8")
    joined = plan("seed=3").joined(plan(*words, "seed=4"), tmp_path)
    assert joined.recipe == plan(*words, "seed=3").recipe


def test_keys_that_results_depend_on_stay_as_steps_were_measured_with(tmp_path: Path) -> None:
    begun = {"student alone": 4}
    with pytest.raises(TrainingError, match="grad_accumulation: 1 then, 2 now"):
        plan(steps=begun).joined(plan("grad_accumulation=2"), tmp_path)
    assert plan(steps=begun).joined(plan("validate_every=2"), tmp_path).recipe.validate_every == 2
    with pytest.raises(TrainingError, match="validate_every: null then, 2 now"):
        plan("keep=best", steps=begun).joined(plan("keep=best", "validate_every=2"), tmp_path)


def test_a_study_with_a_finished_run_goes_on_with_changed_keys_that_no_result_depends_on(
    tiny: tuple[str, ...], tmp_path: Path
) -> None:
    words = (*tiny, "budget=steps:1", "teacher.train.steps=1", f"out={tmp_path / 's'}")
    compare(*words, methods="none,kd", seeds="0", quiet=True)
    with pytest.raises(TrainingError, match=r"refit_images: null then, 4 now\n"):
        compare(*words, "refit_images=4", methods="none,kd", seeds="0,1", quiet=True)
    more = compare(*words, "log_every=7", methods="none,kd", seeds="0,1", quiet=True)
    assert not more.pending
    recipes = [yaml.safe_load((tmp_path / "s" / run / "recipe.yaml").read_text()) for run in ("kd-0", "kd-1")]
    assert [recipe["log_every"] for recipe in recipes] == [1, 7]
