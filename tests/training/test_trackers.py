"""Trackers: what a run hands to the real ones, what a resumed run goes on with, and that none can stop a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import wandb
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, register_tracker_class
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.runs import trackers


@pytest.fixture(autouse=True)
def _new_warnings() -> None:
    trackers._warn_once.cache_clear()


def events(folder: Path) -> EventAccumulator:
    read = EventAccumulator(str(folder))
    read.Reload()
    return read


def journal(run: Path, kind: str = "train") -> list[dict[str, Any]]:
    return [line for text in (run / "metrics.jsonl").open() if (line := json.loads(text))["kind"] == kind]


def test_tensorboard_gets_numbers_pictures_and_the_table(tiny: tuple[str, ...], tmp_path: Path) -> None:
    segdistill.distill(*tiny, "kd", out=tmp_path / "run", quiet=True, log_images=1)
    read = events(tmp_path / "run" / "tensorboard")
    curve = read.Scalars("train/task")
    assert [(each.step, pytest.approx(each.value)) for each in curve] == [
        (line["step"], line["task"]) for line in journal(tmp_path / "run")
    ]
    assert [each.step for each in read.Images("validation/0")] == [3, 6]
    assert read.Images("validation/0")[0].width == 3 * 48  # image, label, prediction
    assert "validation/1" not in read.Tags()["images"]
    text = read.Tensors("table/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text == (tmp_path / "run" / "table.md").read_text()
    settings = next((tmp_path / "run" / "tensorboard").rglob("hparams.yml")).read_text()
    assert "optimizer.lr: 0.01" in settings


def test_a_comparison_has_its_table_in_the_trackers(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = [*tiny, "teacher.train.steps=1", "budget=steps:1", "checkpoint_every=1"]
    segdistill.compare(*words, methods="kd", seeds="0", out=tmp_path / "study", quiet=True)
    read = events(tmp_path / "study" / "tensorboard")
    text = read.Tensors("table/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text == (tmp_path / "study" / "table.md").read_text()


def test_no_tracker_is_a_choice_and_an_unknown_one_is_refused(tiny: tuple[str, ...], tmp_path: Path) -> None:
    segdistill.train(*tiny, out=tmp_path / "run", quiet=True, log=[])
    assert not (tmp_path / "run" / "tensorboard").exists()
    with pytest.raises(RecipeError, match=r"no tracker is called 'wandbb'.*'wandb'"):
        segdistill.load_recipe(*tiny, "log=[tensorboard,wandbb]")
    assert segdistill.load_recipe(*tiny, "log=wandb").log == ["wandb"]


def test_wandb_offline_goes_on_in_its_own_run(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    runs: list[Any] = []
    init = wandb.init
    monkeypatch.setattr(wandb, "init", lambda **options: runs.append(init(**options)) or runs[-1])
    segdistill.distill(*tiny, "kd", out=tmp_path / "run", quiet=True, log=["wandb"], log_images=1, baseline="none")
    teacher, student, table = runs
    assert [run.name for run in runs] == ["run/teacher", "run", "run"]
    assert student.id == table.id != teacher.id  # the table goes where the run's numbers went
    assert student.config["optimizer.lr"] == 0.01
    first, second = sorted(
        (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime
    )
    written = first.read_bytes()
    assert b"validation/0" in written
    for line in journal(tmp_path / "run"):
        assert repr(line["task"]).encode() in written
    assert b"table" in second.read_bytes()


def test_mlflow_keeps_one_run_through_a_resume(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    words = [*tiny, "log=[mlflow]", "log_images=1", f"out={tmp_path / 'run'}"]
    _stopped_after(3, words, monkeypatch)
    segdistill.train(*words, resume=True, quiet=True)
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert [run.info.run_name for run in runs] == ["run"]
    client = mlflow.MlflowClient()
    curve = client.get_metric_history(runs[0].info.run_id, "train/task")
    assert [each.step for each in curve][-3:] == [4, 5, 6]
    assert {each.step for each in curve} == {1, 2, 3, 4, 5, 6}
    assert runs[0].data.params["optimizer.lr"] == "0.01"
    pictures = client.list_artifacts(runs[0].info.run_id, "validation/0")
    assert [Path(each.path).name for each in pictures] == ["step_0000003.png", "step_0000006.png"]


def _stopped_after(step: int, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a run, and end it as an error would, right after the state of a step is saved."""
    from segdistill.training.loop import Trainer

    save = Trainer._save

    def save_and_stop(self: Trainer) -> None:
        save(self)
        if self.progress.step == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            segdistill.train(*words, quiet=True)


class Flaky(GeneralTracker):
    """A tracker whose connection breaks after a few numbers."""

    name = "flaky"
    requires_logging_directory = False
    numbers: list[float]
    finished = 0
    error: BaseException

    def __init__(self, project: str) -> None:
        super().__init__()

    @property
    def tracker(self) -> None:
        return None

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        if len(Flaky.numbers) == 2:
            raise Flaky.error
        Flaky.numbers.append(values["train/task"])

    def finish(self) -> None:
        Flaky.finished += 1


@pytest.fixture
def flaky() -> Iterator[type[Flaky]]:
    Flaky.numbers, Flaky.finished = [], 0
    register_tracker_class(Flaky)
    yield Flaky
    del LOGGER_TYPE_TO_CLASS["flaky"]


@pytest.mark.parametrize("kind", [ConnectionError, SystemExit])
def test_a_tracker_that_fails_on_the_way_is_one_warning(
    kind: type[BaseException],
    tiny: tuple[str, ...],
    tmp_path: Path,
    flaky: type[Flaky],
    capsys: pytest.CaptureFixture[str],
) -> None:
    flaky.error = kind("no route to the tracker's host")
    segdistill.train(*tiny, out=tmp_path / "run", quiet=True, log=["flaky", "tensorboard"])
    errors = " ".join(capsys.readouterr().err.split())
    assert errors.count("log: flaky failed") == 1
    assert "no route to the tracker's host" in errors
    steps = [line["task"] for line in journal(tmp_path / "run")]
    assert np.allclose(flaky.numbers, steps[:2])
    assert flaky.finished == 1
    assert len(events(tmp_path / "run" / "tensorboard").Scalars("train/task")) == 6  # the other one has all


def test_a_tracker_that_can_not_start_is_one_warning(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*tiny, f"out={tmp_path / 'run'}"]
    _stopped_after(3, [*words, "log=[]"], monkeypatch)
    (tmp_path / "run" / "tensorboard").touch()  # a file where the tracker wants a folder
    segdistill.train(*words, "log=[tensorboard,aim]", resume=True, quiet=True)
    errors = " ".join(capsys.readouterr().err.split())
    assert errors.count("log: tensorboard failed") == 1
    assert errors.count("log: aim failed") == 1
    assert "pip install" in errors
    assert (tmp_path / "run" / "student.safetensors").is_file()
