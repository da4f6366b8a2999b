"""`compare` end to end: fair, stoppable, extendable; run here, in processes, by Ray or as a SLURM array."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from conftest import environment
from forked import Forked

from segdistill import compare
from segdistill.core.errors import RecipeError, TrainingError
from segdistill.recipe.recipe import load_recipe
from segdistill.reporting.answer import answer
from segdistill.runs.folder import RunFolder
from segdistill.studies.methods import read_methods
from segdistill.studies.result import ALONE, LONGER, Study
from segdistill.studies.stored import load_study

Start = Callable[..., Forked]
Run = Callable[..., subprocess.CompletedProcess[str]]

SHORT = ("budget=steps:3", "teacher.train.steps=2", "checkpoint_every=1")


@pytest.fixture(scope="module")
def study(tiny: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    folder = tmp_path_factory.mktemp("study") / "s"
    parts = [*tiny, *SHORT, f"out={folder}"]
    return folder, compare(*parts, methods="none,kd,cwd", seeds="0,1", quiet=True)


def test_methods_of_the_recipe_are_compared_as_well(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = (*tiny, "budget=steps:1", "teacher.train.steps=1", f"out={tmp_path / 's'}")
    done = compare(*words, "bpkd_light", methods="kd", seeds="0", quiet=True)
    assert [row.label for row in done.summary] == ["student alone", "bpkd", "kd"]
    recipe = yaml.safe_load((tmp_path / "s" / "bpkd-0" / "recipe.yaml").read_text())
    assert recipe["method"] == [{"name": "bpkd", "body_weight": 2, "edge_weight": 0.1}]
    with pytest.raises(RecipeError, match="name bpkd with other options than methods="):
        compare(*words, "bpkd_light", methods="bpkd", seeds="0", quiet=True)


def scores(study: Study) -> list[Any]:
    """All that does not depend on the machine's speed."""
    return [(each.label, each.seed, each.steps, each.miou, each.edge_miou, each.iou) for each in study.outcomes]


def test_every_method_and_the_student_alone_over_all_seeds(study: tuple[Path, Study]) -> None:
    folder, done = study
    assert [row.label for row in done.summary] == ["student alone", "kd", "cwd"]
    assert all(row.seeds == (0, 1) and row.steps == 3 for row in done.summary)
    assert done.pending == ()
    assert done.teacher is not None
    assert load_study(folder) == done
    for label in ("student-alone", "kd", "cwd"):
        recipe = yaml.safe_load((folder / f"{label}-1" / "recipe.yaml").read_text())
        assert recipe["seed"] == 1
        assert recipe["steps"] == 3
        assert recipe["teacher"]["weights"] == str(folder / "teacher")
    assert "student alone" in (folder / "table.md").read_text()
    lines = (folder / "table.csv").read_text().splitlines()
    assert len(lines) == 1 + 1 + 6
    assert lines[0].startswith("label,seed,steps,")


def test_a_finished_run_equals_the_same_distillation_made_alone(
    study: tuple[Path, Study], tiny: tuple[str, ...], tmp_path: Path, segdistill: Run
) -> None:
    folder, _ = study
    words = [*tiny, "kd", "seed=1", "steps=3", "baseline=none", f"teacher.weights={folder / 'teacher'}"]
    done = segdistill("distill", *words, f"out={tmp_path / 'own'}")
    assert done.returncode == 0, done.stderr
    alone, compared = ((path / "student.safetensors").read_bytes() for path in (tmp_path / "own", folder / "kd-1"))
    assert alone == compared


def test_going_on_repeats_nothing_and_takes_more_methods_and_seeds(
    tiny: tuple[str, ...], tmp_path: Path, study: tuple[Path, Study]
) -> None:
    folder = tmp_path / "s"
    teacher = f"teacher.weights={study[0] / 'teacher'}"
    compare(*tiny, teacher, *SHORT, methods="kd", seeds=[0], out=folder, quiet=True)
    written = (folder / "kd-0" / "student.safetensors").stat().st_mtime_ns
    more = compare(folder, methods={"both": [{"name": "kd"}, {"name": "at"}]}, seeds="1", quiet=True)
    assert (folder / "kd-0" / "student.safetensors").stat().st_mtime_ns == written
    assert {(each.label, each.seed) for each in more.outcomes} == {
        (label, seed) for label in ("student alone", "kd", "both") for seed in (0, 1)
    }
    assert scores(compare(folder, quiet=True)) == scores(more)
    with pytest.raises(TrainingError, match="batch_size: 4 then, 2 now"):
        compare(*tiny, teacher, *SHORT, "batch_size=2", methods="kd", out=folder, quiet=True)
    with pytest.raises(TrainingError, match="method both"):
        compare(folder, methods={"both": ["kd"]}, quiet=True)
    with pytest.raises(RecipeError, match="goes on with the recipe"):
        compare(folder, "budget=steps:9", quiet=True)


def test_killed_three_times_it_ends_in_the_same_table(
    tiny: tuple[str, ...], tmp_path: Path, study: tuple[Path, Study], start: Start, segdistill: Run
) -> None:
    folder = tmp_path / "killed"
    words = ["compare", *tiny, *SHORT, f"out={folder}", "methods=kd,cwd", "seeds=0,1"]
    draw = random.Random(0)
    for least in (1, 4, 9):  # lines in all journals: in the teacher, in the first runs, in the last ones
        process = start(*words)
        deadline = time.monotonic() + 120
        while logged(folder) < least and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        time.sleep(draw.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = segdistill(*words, "--json")
    assert last.returncode == 0, last.stderr
    assert json.loads(last.stdout)["kind"] == "study"
    assert scores(load_study(folder)) == scores(study[1])


def logged(folder: Path) -> int:
    return sum(len(file.read_text().splitlines()) for file in folder.glob("*/metrics.jsonl"))


def test_a_run_that_fails_is_named_and_the_others_finish(
    tiny: tuple[str, ...], tmp_path: Path, study: tuple[Path, Study], segdistill: Run
) -> None:
    words = [*tiny, f"teacher.weights={study[0] / 'teacher'}", *SHORT, f"out={tmp_path / 's'}", "seeds=0"]
    done = segdistill("compare", *words, "methods=burst={name: kd, weight: 1.0e+39},kd", "--json")
    assert done.returncode == 1
    written = json.loads(done.stdout)
    assert [row["label"] for row in written["summary"]] == ["student alone", "kd"]
    assert [(each["label"], each["seed"]) for each in written["failures"]] == [("burst", 0)]
    assert "Loss term 'kd'" in written["failures"][0]["error"]


def test_a_state_that_can_not_be_read_is_put_aside_and_the_run_made_again(
    tiny: tuple[str, ...], tmp_path: Path, study: tuple[Path, Study], segdistill: Run
) -> None:
    folder = tmp_path / "s"
    teacher = f"teacher.weights={study[0] / 'teacher'}"
    compare(*tiny, teacher, *SHORT, methods="kd", seeds="0", out=folder, quiet=True)
    run = RunFolder(folder / "kd-0")
    before = (run.path / "student.safetensors").read_bytes()
    (run.path / "student.safetensors").unlink()
    for state in run.states():
        state.write_bytes(state.read_bytes()[:1000])
    again = compare(folder, quiet=True)
    assert not again.failures
    assert (run.path / "student.safetensors").read_bytes() == before
    assert (folder / "kd-0.broken1").is_dir()


def test_minutes_become_steps_once(tiny: tuple[str, ...], tmp_path: Path, study: tuple[Path, Study]) -> None:
    words = [
        *tiny,
        f"teacher.weights={study[0] / 'teacher'}",
        "budget=minutes:0.003",
        "validate_every=1000",
        "checkpoint_every=1000",
    ]
    done = compare(*words, methods="skds", seeds="0", out=tmp_path / "s", quiet=True)
    steps = yaml.safe_load((tmp_path / "s" / "study.yaml").read_text())["steps"]
    assert {each.label: each.steps for each in done.outcomes} == steps
    assert done.budget == "0.003 minutes"
    more = compare(tmp_path / "s", methods="kd", quiet=True)
    later = yaml.safe_load((tmp_path / "s" / "study.yaml").read_text())["steps"]
    assert later == {**steps, "kd": more.of("kd").steps}
    with pytest.raises(RecipeError, match="equal minutes"):
        compare(tmp_path / "s", methods="longer", quiet=True)


def test_the_student_alone_at_equal_minutes_stands_in_the_table(
    tiny: tuple[str, ...], tmp_path: Path, study: tuple[Path, Study]
) -> None:
    words = [*tiny, *SHORT, f"teacher.weights={study[0] / 'teacher'}", f"out={tmp_path / 'longer'}"]
    done = compare(*words, methods="longer,cwd", seeds="0", quiet=True)
    longer, alone = done.of(LONGER), done.of(ALONE)
    assert longer is not None
    assert alone is not None
    assert longer.steps >= alone.steps  # cwd also runs the teacher
    assert [row.label for row in done.methods()] == ["cwd"]  # training on is no method
    assert any(f"the student alone makes {longer.steps} steps" in line for line in answer(done).lines())
    assert compare(tmp_path / "longer", quiet=True).of(LONGER) == longer
    with pytest.raises(RecipeError, match="equal minutes"):
        compare(*words, methods="longer,kd", budget="minutes:1", out=tmp_path / "other", quiet=True)


@pytest.mark.slow
def test_several_at_a_time_reach_the_same(tiny: tuple[str, ...], tmp_path: Path, study: tuple[Path, Study]) -> None:
    words = [*tiny, *SHORT, f"teacher.weights={study[0] / 'teacher'}", "processes=2"]
    done = compare(*words, methods="kd", seeds="0", out=tmp_path / "s", quiet=True)
    assert scores(done) == [each for each in scores(study[1]) if each[:2] in [("student alone", 0), ("kd", 0)]]


@pytest.mark.slow
def test_ray_reaches_the_same(
    tiny: tuple[str, ...], tmp_path: Path, study: tuple[Path, Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 by default: beside other work it would take minutes
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        words = [*tiny, *SHORT, f"teacher.weights={study[0] / 'teacher'}", "executor=ray", "processes=2"]
        done = compare(*words, methods="kd", seeds="0", out=tmp_path / "s", quiet=True)
    finally:
        ray.shutdown()
    assert scores(done) == [each for each in scores(study[1]) if each[:2] in [("student alone", 0), ("kd", 0)]]


def test_the_slurm_script_does_every_run(
    tiny: tuple[str, ...], tmp_path: Path, study: tuple[Path, Study], segdistill: Run
) -> None:
    folder = tmp_path / "s"
    words = [*tiny, *SHORT, f"out={folder}", "methods=kd", "seeds=0"]
    asked = segdistill("compare", *words, "executor=slurm")
    assert asked.returncode == 0, asked.stderr
    script = folder / "slurm.sh"
    assert f"--array=0-1 {script}" in script.read_text()
    srun = tmp_path / "bin" / "srun"  # says what SLURM would run on a node
    srun.parent.mkdir()
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    srun.chmod(0o755)
    on_a_node = {**environment(), "PATH": f"{srun.parent}:{os.environ['PATH']}"}
    for task in ({}, {"SLURM_ARRAY_TASK_ID": "0"}, {"SLURM_ARRAY_TASK_ID": "1"}):
        printed = subprocess.run(["bash", str(script)], env={**on_a_node, **task}, check=True, capture_output=True)
        python, *command = printed.stdout.decode().splitlines()
        assert (python, command[:2]) == (sys.executable, ["-m", "segdistill"])
        ran = segdistill(*command[2:])  # as other tests do with all of it
        assert ran.returncode == 0, ran.stderr
    done = compare(folder, quiet=True)
    assert scores(done) == [each for each in scores(study[1]) if each[:2] in [("student alone", 0), ("kd", 0)]]


def test_a_folder_in_which_another_process_trains_is_refused(
    tiny: tuple[str, ...], tmp_path: Path, segdistill: Run
) -> None:
    with RunFolder(tmp_path / "r").held():
        done = segdistill("train", *tiny, f"out={tmp_path / 'r'}", "--resume")
    assert done.returncode == 1
    assert f"Another process is training in {tmp_path / 'r'}" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["methods=bpkd_lite"], "Did you mean 'bpkd_light'?"),
        (["methods=kd={name: kd, temprature: 4}"], "Did you mean 'temperature'?"),
        (["methods=a b"], "'a b'"),
        ([], "name methods="),
        (["methods=kd", "budget=hours:3"], "steps:NUMBER or minutes:NUMBER"),
        (["methods=kd", "budget=minutes:inf"], "steps:NUMBER or minutes:NUMBER"),
        (["methods=kd", "executor=rai"], "Did you mean 'ray'?"),
        (["methods=student-alone=kd"], "student-alone"),
        (["methods=kd", "budget=minutes:1", "executor=slurm"], "set steps"),
        (["methods=kd,longer", "executor=slurm"], "longer needs one machine"),
        (["methods=kd", "processes=0"], "processes is 0"),
        (["methods=kd", "seeds=0,x"], "seeds is '0,x'"),
        (["bpkd_light", "methods=bpkd"], "can't have one label"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_written(
    words: list[str], message: str, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from segdistill.cli.main import app

    done = CliRunner().invoke(app, ["compare", *tiny, f"out={tmp_path / 's'}", *words])
    assert done.exit_code != 0
    assert message in str(done.exception)
    assert not (tmp_path / "s").exists()


def test_default_and_lists_of_methods_are_read() -> None:
    read = read_methods("default,kd,both=[{name: kd, share: 2}, {name: at}],soft={name: kd, temperature: 4},a=[kd, at]")
    assert list(read) == ["default", "kd", "both", "soft", "a"]
    assert read["default"] == load_recipe("streets", "tiny_pair").with_method().method
    assert [(method.name, method.share) for method in read["both"]] == [("kd", 2), ("at", "auto")]
    assert [method.name for method in read["a"]] == ["kd", "at"]
