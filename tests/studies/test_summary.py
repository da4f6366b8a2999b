"""What a study makes of its runs, against scipy's paired t test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from segdistill.studies.result import ALONE, Gain, Outcome
from segdistill.studies.summary import gain, summarise
from segdistill.studies.verdict import verdict


def outcome(label: str, seed: int, miou: float, seconds: float = 10.0, iou: tuple[float | None, ...] = ()) -> Outcome:
    return Outcome(
        label=label, seed=seed, folder=f"{label}-{seed}", steps=100, batch_size=8, seconds=seconds, miou=miou,
        macc=miou, aacc=miou, edge_miou=miou - 10, body_miou=None, boundary_miou=miou, iou=iou, machine="", threads=1,
        device="cpu", torch="", commit=None,
    )  # fmt: skip


@pytest.mark.parametrize("seeds", [2, 3, 7])
def test_the_interval_is_that_of_a_paired_t_test(seeds: int) -> None:
    draw = np.random.default_rng(seeds)
    alone = draw.normal(50, 2, seeds)
    method = alone + draw.normal(1, 0.5, seeds)
    result = gain((method - alone).tolist())
    reference = ttest_rel(method, alone).confidence_interval(0.95)
    assert result.low == pytest.approx(reference.low)
    assert result.high == pytest.approx(reference.high)
    assert result.mean == pytest.approx(np.mean(method - alone))
    assert result.std == pytest.approx(np.std(method - alone, ddof=1))


def test_gains_are_paired_by_seed_and_a_seed_without_its_pair_counts_only_in_the_mean() -> None:
    outcomes = [outcome(ALONE, 0, 40), outcome(ALONE, 1, 60), outcome("kd", 1, 63), outcome("kd", 0, 41)]
    outcomes.append(outcome("kd", 2, 100))
    row = summarise(outcomes, {"kd": [{"name": "kd"}]}, (), None)[1]
    assert row.gain is not None
    assert sorted(row.gain.values) == [1, 3]
    assert row.miou.mean == pytest.approx((63 + 41 + 100) / 3)
    assert row.body_miou is None
    assert row.edge_gain is not None
    assert row.edge_gain.mean == 2


def test_one_seed_has_no_interval() -> None:
    row = summarise([outcome(ALONE, 0, 40), outcome("kd", 0, 41)], {"kd": []}, (), None)[1]
    assert row.gain == Gain(1, None, (1,), None, None)
    assert verdict(row.gain) == "one seed"


def test_cost_and_the_gap_closed_are_relative_to_the_student_alone() -> None:
    outcomes = [outcome(ALONE, 0, 40, seconds=10), outcome("kd", 0, 45, seconds=25)]
    row = summarise(outcomes, {"kd": []}, (), outcome("teacher", 0, 60))[1]
    assert row.cost == 2.5
    assert row.gap_closed == pytest.approx(0.25)
    larger_batches = [outcomes[0], replace(outcomes[1], batch_size=16)]
    assert summarise(larger_batches, {"kd": []}, (), None)[1].cost is None
    worse_teacher = summarise(outcomes, {"kd": []}, (), outcome("teacher", 0, 30))[1]
    assert worse_teacher.gap_closed is None


def test_runs_too_short_to_be_timed_have_no_cost() -> None:
    outcomes = [outcome(ALONE, 0, 40, seconds=0.0), outcome("kd", 0, 45, seconds=0.1)]
    assert summarise(outcomes, {"kd": []}, (), None)[1].cost is None


def test_classes_are_ordered_by_gain_and_absent_ones_left_out() -> None:
    outcomes = [outcome(ALONE, 0, 40, iou=(10, None, 30)), outcome("kd", 0, 45, iou=(11, 5, 40))]
    row = summarise(outcomes, {"kd": []}, ("sky", "tree", "car"), None)[1]
    assert [(each.name, each.points) for each in row.classes] == [("car", 10), ("sky", 1)]


@pytest.mark.parametrize(
    ("values", "expected"), [([1, 1.1, 0.9], "gain"), ([-1, -1.1, -0.9], "loss"), ([1, -1.1, 0.2], "unclear")]
)
def test_what_an_interval_says(values: list[float], expected: str) -> None:
    assert verdict(gain(values)) == expected
