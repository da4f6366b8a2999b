"""The answer of a page says what the numbers say, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from example_studies import gain, outcome, study, summary

from segdistill.reporting.answer import answer
from segdistill.studies.result import ALONE, LONGER, Failure, NetworkCost


def test_a_gain_is_given_with_its_interval_its_cost_and_the_gap() -> None:
    result = answer(study({"bpkd": gain(9.8, (5.4, 14.2))}))
    assert result.headline == (
        "bpkd gained 9.8 mIoU [95 % CI 5.4 to 14.2, 3 seeds] over the same student alone at 1.10 times its time a step "
        "and closed 49 % of the gap to the teacher."
    )
    assert "leaves zero out" in result.confidence[0]
    assert [fact.value for fact in result.facts] == ["+9.8", "49 %", "1.10 times", "20 %"]


def test_one_seed_says_nothing_about_others() -> None:
    result = answer(study({"bpkd": gain(9.8, seeds=1)}))
    assert "[one seed, no interval]" in result.headline
    assert result.confidence == ("One seed proves little: nothing can be said about other seeds.",)


def test_an_interval_with_zero_in_it_is_no_gain() -> None:
    result = answer(study({"kd": gain(1.2, (-0.4, 2.8))}))
    assert result.headline.startswith(
        "kd is not distinguishable from no gain: +1.2 mIoU [95 % CI \N{MINUS SIGN}0.4 to 2.8"
    )
    assert "gap" not in " ".join([result.headline, *(fact.what for fact in result.facts)])
    assert "contains zero" in result.confidence[0]


def test_a_method_that_lost_is_called_a_loss() -> None:
    result = answer(study({"kd": gain(-4.0, (-4.8, -3.2))}))
    interval = "[95 % CI \N{MINUS SIGN}4.8 to \N{MINUS SIGN}3.2, 3 seeds]"
    assert result.headline.startswith(f"kd lost: \N{MINUS SIGN}4.0 mIoU {interval} over the same student alone")
    assert "gap" not in result.headline
    assert "loss is to be expected" in result.confidence[0]


@pytest.mark.parametrize(
    ("lead", "words"), [(-0.6, "is not ahead of"), (0.6, "is only 0.6 mIoU ahead of"), (1.5, ""), (float("nan"), "")]
)
def test_a_teacher_with_little_to_give_is_named(lead: float, words: str) -> None:
    result = answer(study({"kd": gain(0.2, (-0.4, 0.8))}, alone=50.0, teacher=outcome("teacher", miou=50.0 + lead)))
    lines = [line for line in result.confidence if "so there was little to gain" in line]
    assert len(lines) == bool(words)
    assert all(f"({50 + lead:.1f} mIoU) {words} the student alone (50.0)" in line for line in lines)


def test_of_a_baseline_of_another_network_no_advice_follows() -> None:
    rows = {"alone": 50.0, "teacher": outcome("teacher", miou=49.0), "alone_cost": NetworkCost(7, 1.0, 1.0)}
    lines = answer(study({"kd": gain(0.2, seeds=1)}, **rows)).confidence
    assert "The teacher (49.0 mIoU) is not ahead of the given baseline (50.0)." in lines


@pytest.mark.parametrize(("parameters", "named"), [(500_000, "the given student alone"), (7, "the given baseline")])
def test_a_baseline_that_was_given_is_not_called_the_same_student_alone(parameters: int, named: str) -> None:
    result = answer(study({"kd": gain(9.8, seeds=1)}, alone_cost=NetworkCost(parameters, 1.0, 1.0)))
    assert f"over {named} at" in result.headline
    assert result.facts[0].what == f"mIoU points over {named}"


@pytest.mark.parametrize("mean", [-0.03, 0.0, 0.04])
def test_a_change_that_rounds_to_nothing_is_no_gain_and_no_loss(mean: float) -> None:
    result = answer(study({"kd": gain(mean, seeds=1), "at": gain(mean, seeds=1)}))
    assert result.headline == (
        "kd made no difference: 0.0 mIoU [one seed, no interval] over the same student alone at 1.10 times its time a "
        "step."
    )
    assert result.others[0].startswith("at made no difference in its one seed: 0.0 mIoU")
    with_seeds = answer(study({"kd": gain(mean, (-0.4, 0.5))})).headline
    assert "no difference: 0.0 mIoU [95 % CI \N{MINUS SIGN}0.4 to 0.5, 3 seeds] over" in with_seeds


def test_the_others_are_named_with_what_became_of_them_and_the_best_of_several_is_put_in_doubt() -> None:
    gains = {"bpkd": gain(9.8, (5.4, 14.2)), "cwd": gain(2.1, (-0.7, 5.0)), "kd": gain(-4.0, (-4.8, -3.2))}
    result = answer(study(gains))
    assert result.others == (
        "cwd is not distinguishable from no gain: +2.1 mIoU [95 % CI \N{MINUS SIGN}0.7 to 5.0, 3 seeds], at 1.10 times "
        "the time a step.",
        "kd lost: \N{MINUS SIGN}4.0 mIoU [95 % CI \N{MINUS SIGN}4.8 to \N{MINUS SIGN}3.2, 3 seeds], at 1.10 times the "
        "time a step.",
    )
    assert "best of 3 methods" in result.confidence[-1]


def test_failures_unfinished_runs_and_missing_seeds_are_named() -> None:
    made = study({"kd": gain(1.0, (0.1, 1.9))})
    fewer = replace(made.summary[1], seeds=(0, 1))
    made = replace(
        made,
        summary=(made.summary[0], fewer),
        failures=(Failure("cirkd", 2, "out of memory"),),
        pending=("kd, seed 2",),
    )
    assert answer(made).problems == (
        "Failed: cirkd, seed 2: out of memory",
        "Not finished yet: kd, seed 2.",
        "Fewer than the 3 seeds of the study: kd (2).",
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"summary": (), "outcomes": (), "pending": ("kd, seed 0",)}, "No run of this study is finished yet"),
        ({"summary": (), "outcomes": ()}, "No validation image has a label"),
        ({}, "No method is finished yet; the student alone reaches 40.0 mIoU."),
    ],
)
def test_a_study_that_has_just_begun(changes: dict[str, tuple[()]], expected: str) -> None:
    assert expected in answer(replace(study({}), **changes)).headline  # type: ignore[arg-type]


def test_without_a_student_alone_nothing_is_claimed() -> None:
    made = study({"kd": None})
    rows = tuple(row for row in made.summary if row.label != ALONE)
    result = answer(replace(made, summary=rows, outcomes=(outcome("kd"),)))
    assert "not known" in result.headline
    assert not result.confidence


def test_training_on_alone_is_given_with_the_minutes_that_both_took() -> None:
    made = study({"kd": gain(2.0, seeds=1)})
    longer = summary([outcome(LONGER, miou=41.0, steps=150, seconds=90.0)], gain(1.0, seeds=1))
    result = answer(replace(made, summary=(*made.summary, longer)))
    assert result.others == (
        "In 1.5 minutes of training the student alone makes 150 steps and reaches 41.0 mIoU (+1.0); kd has +1.0 beside "
        "it, in 1.0 minutes.",
    )
