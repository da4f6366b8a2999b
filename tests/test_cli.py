"""The command line as a newcomer types it, and the files it leaves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import segdistill as library
from segdistill.commands.benchmark import other_models
from segdistill.data.datasets.streets import Streets
from segdistill.models.open import open_model
from segdistill.recipe.recipe import load_recipe
from segdistill.studies.stored import load_study

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[str, ...]) -> Path:
    """A finished distillation, made once."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    library.distill(*tiny, "bpkd", out=folder, quiet=True)
    return folder


def test_distill_leaves_a_complete_folder(finished: Path) -> None:
    for name in (
        "recipe.yaml", "environment.json", "metrics.jsonl", "checkpoints/last.pt", "checkpoints/best.safetensors",
        "student.safetensors", "student.yaml", "study.json", "table.md", "table.csv", "grid.png",
        "teacher/teacher.safetensors", "alone/student.safetensors",
    ):  # fmt: skip
        assert (finished / name).is_file(), name
    assert list((finished / "tensorboard").iterdir())
    assert not list(finished.rglob("*.part"))


def test_the_table_is_honest(finished: Path) -> None:
    study = load_study(finished)
    teacher, (alone, distilled) = study.teacher, study.outcomes
    assert teacher is not None
    assert [row.label for row in (teacher, alone, distilled)] == ["teacher", "student alone", "bpkd"]
    assert study.teacher_cost.parameters > study.student_cost.parameters
    assert (alone.seed, alone.steps) == (distilled.seed, distilled.steps) == (0, 6)
    assert all(row.seconds > 0 for row in (teacher, alone, distilled))
    assert all(cost.milliseconds > 0 for cost in (study.teacher_cost, study.student_cost))
    summary = study.of("bpkd")
    assert summary is not None
    assert summary.gain is not None
    assert summary.gain.mean == pytest.approx(distilled.miou - alone.miou, abs=1e-3)
    for row, part in ((teacher, "teacher"), (alone, "alone"), (distilled, ".")):
        assert row.folder == part
        assert row.miou == pytest.approx(library.evaluate(finished / part).scores.miou, abs=1e-3)
    table = (finished / "table.md").read_text()
    assert study.environment["machine"] in table
    assert f"{distilled.miou:.2f}" in table
    assert "One seed proves little" in table


def test_the_picture_grid_shows_the_prediction_in_class_colors(finished: Path) -> None:
    grid = np.array(Image.open(finished / "grid.png").convert("RGB")).reshape(-1, 3)
    assert len(grid) > 500_000
    for color in Streets.classes.colors[:3]:
        assert (np.abs(grid.astype(int) - color).sum(1) < 12).mean() > 0.003


def test_the_student_works_with_nothing_else(finished: Path, tmp_path: Path, segdistill: Run) -> None:
    for suffix in ("safetensors", "yaml"):
        (tmp_path / "moved").mkdir(exist_ok=True)
        (tmp_path / "moved" / f"student.{suffix}").write_bytes((finished / f"student.{suffix}").read_bytes())
    photos = tmp_path / "my photos"
    photos.mkdir()
    scene = Streets(split="val", size=(45, 61))[0]
    Image.fromarray(scene.image.permute(1, 2, 0).numpy()).save(photos / "été.png")
    Image.fromarray(scene.image.permute(1, 2, 0).numpy()).save(photos / "other.jpg")
    out = tmp_path / "out"
    done = segdistill("predict", tmp_path / "moved", photos, f"out={out}", "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert sorted(Path(item["image"]).name for item in listed) == ["other.jpg", "été.png"]
    mask = Image.open(out / "été_mask.png")
    assert mask.mode == "P"
    assert mask.size == (61, 45)
    model = library.load_model(tmp_path / "moved")
    with torch.no_grad():
        logits = model(scene.image[None].float() / 255).logits
    scores = torch.nn.functional.interpolate(logits, (45, 61), mode="bilinear", align_corners=False)
    agreement = (torch.from_numpy(np.array(mask)) == scores.argmax(1)[0]).float().mean()
    assert agreement > 0.999
    assert Image.open(out / "été_overlay.png").size == (61, 45)
    assert model.classes is not None
    assert model.classes.names[0] == "sky"


def test_evaluate_takes_other_data(finished: Path, segdistill: Run) -> None:
    done = segdistill("evaluate", finished, "data.seed=5", "data.count=3", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["images"] == 3
    assert list(result["iou"])[:2] == ["sky", "building"]
    again = segdistill("evaluate", finished, "split=train")
    assert "mIoU" in again.stdout
    assert segdistill("evaluate", finished, "split=test").returncode != 0


def test_train_gives_the_scores_of_classes_by_name(tiny: tuple[str, ...], tmp_path: Path, segdistill: Run) -> None:
    done = segdistill("train", *tiny, "steps=1", f"out={tmp_path / 'run'}", "--json")
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)["scores"]
    evaluated = library.evaluate(tmp_path / "run").as_dict()
    assert list(scores["iou"].items()) == list(evaluated["iou"].items())


def test_a_given_teacher_and_baseline_are_used_as_they_are(
    finished: Path, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    words = (*tiny, "kd", f"teacher.weights={finished / 'teacher'}")
    done = library.distill(*words, baseline=str(finished / "alone"), out=tmp_path / "x", quiet=True)
    assert not (tmp_path / "x" / "teacher").exists()
    assert not (tmp_path / "x" / "alone").exists()
    before = load_study(finished)
    for row, earlier in ((done.study.teacher, before.teacher), (done.study.outcomes[0], before.outcomes[0])):
        assert row is not None
        assert earlier is not None
        assert row.miou == pytest.approx(earlier.miou, abs=1e-3)
    none = library.distill(*words, baseline="none", out=tmp_path / "y", quiet=True)
    assert [row.label for row in none.study.outcomes] == ["kd"]
    assert none.study.methods()[0].gain is None
    assert "not known" in (tmp_path / "y" / "table.md").read_text()
    weights = [(tmp_path / name / "student.safetensors").read_bytes() for name in ("x", "y")]
    assert weights[0] == weights[1]


def test_list_names_everything(segdistill: Run) -> None:
    done = segdistill("list", "--json")
    names = json.loads(done.stdout)
    assert {"kd", "cwd", "bpkd"} <= set(names["methods"])
    assert {"streets", "camvid", "folder"} <= set(names["datasets"])
    assert {"fcn", "pspnet", "deeplabv3plus"} <= set(names["heads"])
    assert {"mobile_pair", "tiny_pair"} <= set(names["recipes"])
    assert all(line for kind in names.values() for line in kind.values())
    assert "bpkd" in segdistill("list", "methods").stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["distill", "streets", "tiny_pair", "kd", "stepz=3"], ["stepz", "Did you mean 'steps'"]),
        (["train", "streets", "kd"], ["no student"]),
        (["predict", "nowhere", "photo.jpg"], ["nowhere"]),
        (["list", "methodes"], ["Did you mean 'methods'"]),
        (["train", "camvid", "mobile_pair", "data.root=nowhere"], ["nowhere", "train.txt"]),
    ],
)
def test_mistakes_get_a_sentence_not_a_traceback(words: list[str], expected: list[str], segdistill: Run) -> None:
    done = segdistill(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in expected), done.stderr


def test_a_baseline_that_is_gone_is_named_and_one_at_home_is_found(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(finished))
    model = open_model(finished)
    at_home = other_models(load_recipe(finished / "recipe.yaml", "baseline=~/alone"), finished, model)
    assert list(at_home) == ["teacher", "student alone"]
    gone = other_models(load_recipe(finished / "recipe.yaml", "baseline=~/gone"), finished, model)
    assert list(gone) == ["teacher"]
    assert "student alone: left out" in capsys.readouterr().err
