"""The table of a study: the one that was committed, and that of a single distillation."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from example_studies import gain, study
from rich.console import Console

from segdistill.cli.tables.study import StudyTable
from segdistill.reporting.study_table import HEADINGS, cells, markdown, notes
from segdistill.studies.result import NetworkCost, Study
from segdistill.studies.stored import load_study

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def test_a_committed_study_makes_its_committed_table(tmp_path: Path) -> None:
    shutil.copy(RESULTS / "camvid_study.json", tmp_path / "study.json")
    made = markdown(load_study(tmp_path))
    committed = (RESULTS / "camvid_study.md").read_text(encoding="utf-8")
    start = "bpkd_light gained 10.7 mIoU"
    end = "\n\ncamvid: 101 validation images"
    assert made.partition(end)[0] == start + committed.partition(start)[2].partition(end)[0]


def test_a_study_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = replace(one_seed(), alone_cost=NetworkCost(700_000, 0.7, 12.0), teacher_description="it sees more")
    made.save(tmp_path)
    assert load_study(tmp_path) == made
    assert json.loads((tmp_path / "study.json").read_text())["kind"] == "study"


def one_seed() -> Study:
    return study({"kd": gain(9.8, seeds=1)})


def printed(made: Study, width: int = 100) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(StudyTable(made))
    return captured.get()


def test_one_seed_has_all_numbers_of_its_networks_and_no_interval_within_100_columns() -> None:
    headings, rows = cells(one_seed())
    assert "95 % CI" not in headings
    teacher, alone, method = (dict(zip(headings, row, strict=True)) for row in rows)
    assert teacher | {"mIoU": "60.00", "mAcc": "70.00", "aAcc": "90.00", "Mpar": "5.00", "ms": "50.0"} == teacher
    assert alone | {"seeds": "0", "steps": "100", "min": "1.0", "Mpar": "0.50", "GFLOPs": "0.50"} == alone
    assert method | {"mIoU": "49.80", "gain": "+9.80", "gap closed": "49 %", "cost": "1.10x"} == method
    text = printed(one_seed())
    for cell in ("closed", "60.00", "70.00", "90.00", "+9.80", "49 %", "5.00", "4.00", "50.0", "100", "1.10x"):
        assert cell in text
    assert "…" not in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_several_seeds_are_shown_with_their_intervals_within_100_columns() -> None:
    made = study({"kd": gain(9.8, (5.4, 14.2)), "bpkd_light+canonical+cirkdv2": gain(-1.2, (-5.4, 3.0))})
    text = printed(made)
    assert "+5.40 to +14.20" in text
    assert "…" not in text
    assert "Mpar" not in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("width", [50, 60, 80])
def test_a_narrow_terminal_has_fewer_columns_and_whole_names_and_numbers(width: int) -> None:
    several = study({"kd": gain(9.8, (5.4, 14.2)), "canonical+cirkdv2": gain(-1.2, (-5.4, 3.0))})
    for made, numbers in ((one_seed(), ("60.00", "49.80", "+9.80")), (several, ("+9.80", "-1.20"))):
        text = printed(made, width)
        table = text.partition(": 9 validation images")[0]
        for cell in ("teacher", "student alone", "kd", *numbers):
            assert cell in table
        assert max(map(len, text.splitlines())) <= width
    assert "aAcc" not in printed(one_seed(), 80)
    assert "GFLOPs" not in printed(one_seed(), 80)  # nor what the column would mean


def test_what_is_not_known_of_any_network_has_no_column() -> None:
    made = one_seed()
    bare = {"edge_miou": None, "body_miou": None}
    assert made.teacher is not None
    without = replace(
        made,
        teacher=replace(made.teacher, **bare),
        summary=tuple(replace(row, **bare, gain=None, gap_closed=None, cost=None) for row in made.summary[1:]),
    )
    headings, rows = cells(without)
    assert not {"gain", "gap closed", "edge", "body", "cost"} & set(headings)
    assert [row[0] for row in rows] == ["teacher", "kd"]
    assert "edge" not in notes(without)
    assert "gain:" not in notes(without)


def test_a_teacher_of_other_classes_is_shown_with_what_it_costs() -> None:
    made = replace(one_seed(), teacher=None, teacher_description="it knows other classes (12: a, b, ...)")
    headings, rows = cells(made)
    teacher = dict(zip(headings, rows[0], strict=True))
    assert (teacher["network"], teacher["mIoU"], teacher["Mpar"]) == ("teacher", "-", "5.00")
    assert "teacher: it knows other classes (12: a, b, ...)." in notes(made)


def test_the_notes_tell_how_the_numbers_were_made() -> None:
    lines = notes(one_seed())
    for text in (
        "things: 9 validation images, 32x48 (height x width)",
        "100 steps, batch 8",
        "a machine, cpu",
        "torch 2",
        "commit abc",
    ):
        assert text in lines
    assert "GFLOPs: multiply-adds" in lines
    assert set(cells(one_seed())[0]) < set(HEADINGS)
