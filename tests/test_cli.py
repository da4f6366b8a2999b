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
from segdistill.data.datasets.streets import Streets

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
        "student.safetensors", "student.yaml", "result.json", "table.md", "grid.png",
        "teacher/teacher.safetensors", "alone/student.safetensors",
    ):  # fmt: skip
        assert (finished / name).is_file(), name
    assert list((finished / "tensorboard").iterdir())
    assert not list(finished.rglob("*.part"))


def test_the_table_is_honest(finished: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    assert [row["name"] for row in result["rows"]] == ["teacher", "student alone", "distilled"]
    teacher, alone, distilled = result["rows"]
    assert teacher["parameters"] > alone["parameters"] == distilled["parameters"]
    assert alone["gflops"] == distilled["gflops"]
    assert (alone["seed"], alone["steps"]) == (distilled["seed"], distilled["steps"]) == (0, 6)
    assert all(row["milliseconds"] > 0 and row["seconds"] > 0 for row in result["rows"])
    assert result["gain"] == pytest.approx(distilled["scores"]["miou"] - alone["scores"]["miou"], abs=1e-3)
    for name, part in (("student alone", "alone"), ("distilled", ".")):
        (row,) = (row for row in result["rows"] if row["name"] == name)
        assert row["scores"]["miou"] == pytest.approx(library.evaluate(finished / part).scores.miou, abs=1e-3)
    table = (finished / "table.md").read_text()
    assert result["environment"]["machine"] in table
    assert f"{distilled['scores']['miou']:.2f}" in table


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
    done = segdistill("predict", tmp_path / "moved", photos, "--out", out, "--json")
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
    again = segdistill("evaluate", finished, "--split", "train")
    assert "mIoU" in again.stdout
    assert segdistill("evaluate", finished, "--split", "test").returncode != 0


def test_a_given_teacher_and_baseline_are_used_as_they_are(
    finished: Path, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    words = (*tiny, "kd", f"teacher.weights={finished / 'teacher'}")
    done = library.distill(*words, baseline=str(finished / "alone"), out=tmp_path / "x", quiet=True)
    assert not (tmp_path / "x" / "teacher").exists()
    assert not (tmp_path / "x" / "alone").exists()
    before = json.loads((finished / "result.json").read_text())["rows"]
    for row, earlier in zip(done.proof.rows[:2], before[:2], strict=True):
        assert row.scores.miou == pytest.approx(earlier["scores"]["miou"], abs=1e-3)
    none = library.distill(*words, baseline="none", out=tmp_path / "y", quiet=True)
    assert [row.name for row in none.proof.rows] == ["teacher", "distilled"]
    assert none.proof.gain is None
    weights = [(tmp_path / name / "student.safetensors").read_bytes() for name in ("x", "y")]
    assert weights[0] == weights[1]


def test_list_names_everything(segdistill: Run) -> None:
    done = segdistill("list", "--json")
    known = json.loads(done.stdout)
    assert {"kd", "cwd", "bpkd"} <= set(known["methods"])
    assert {"streets", "camvid", "folder"} <= set(known["datasets"])
    assert {"fcn", "pspnet", "deeplabv3plus"} <= set(known["heads"])
    assert {"mobile_pair", "tiny_pair"} <= set(known["recipes"])
    assert all(line for kind in known.values() for line in kind.values())
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
