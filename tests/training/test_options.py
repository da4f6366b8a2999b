"""What a training recipe can ask for is done, and shows in what the run logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import segdistill


def log(folder: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


@pytest.mark.parametrize(
    "options",
    [
        ("precision=bf16", "optimizer={name: adamw, lr: 1e-3}", "schedule={name: cosine, warmup: 2}"),
        ("precision=fp16", "grad_accumulation=2", "clip_grad=1.0"),
        ("channels_last=false", "schedule.name=constant", "class_balance=0.5"),
    ],
)
def test_a_run_with_options_ends_with_finite_weights(
    options: tuple[str, ...], tiny: tuple[str, ...], tmp_path: Path
) -> None:
    segdistill.train(*tiny, *options, "steps=3", out=tmp_path / "run", quiet=True)
    weights = load_file(tmp_path / "run" / "student.safetensors")
    assert all(torch.isfinite(value.float()).all() for value in weights.values())
    assert [line["step"] for line in log(tmp_path / "run", "train")] == [1, 2, 3]


def test_the_logged_rate_is_the_schedules(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = ("schedule={name: poly, power: 1.0, warmup: 2}", "optimizer={name: sgd, lr: 0.1}", "steps=4")
    segdistill.train(*tiny, *words, out=tmp_path / "run", quiet=True)
    assert [line["lr"] for line in log(tmp_path / "run", "train")] == pytest.approx([0.05, 0.1, 0.1, 0.05])


def test_terms_are_logged_by_name(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = (*tiny, "kd", "bpkd", "cwd", "steps=2", "baseline=none", "teacher.train.steps=1")
    segdistill.distill(*words, out=tmp_path / "run", quiet=True)
    assert {"task", "auxiliary", "kd", "cwd", "bpkd/body", "bpkd/edge"} <= set(log(tmp_path / "run", "train")[0])


def test_keep_best_hands_over_the_best_validation(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = (*tiny, "steps=8", "validate_every=1", "optimizer={name: sgd, lr: 0.5}")
    best = segdistill.train(*words, "keep=best", out=tmp_path / "best", quiet=True)
    curve = [line["miou"] for line in log(tmp_path / "best", "validation")]
    assert best.scores.miou == pytest.approx(max(curve), abs=1e-3)
    assert best.best_step == curve.index(max(curve)) + 1
    last = segdistill.train(*words, out=tmp_path / "last", quiet=True)
    assert last.scores.miou == pytest.approx(curve[-1], abs=1e-3)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tiny: tuple[str, ...], tmp_path: Path) -> None:
    def weights(name: str, *words: str) -> bytes:
        done = segdistill.train(*tiny, "steps=2", *words, out=tmp_path / name, quiet=True)
        return (done.folder / "student.safetensors").read_bytes()

    assert weights("a") == weights("b", "workers=1")
    assert weights("c", "seed=1") != weights("a2")


def test_the_run_folder_holds_the_resolved_recipe(tiny: tuple[str, ...], tmp_path: Path) -> None:
    done = segdistill.train(*tiny, "steps=1", out=tmp_path / "run", quiet=True)
    recipe = yaml.safe_load((done.folder / "recipe.yaml").read_text())
    assert recipe["steps"] == 1
    assert recipe["optimizer"]["momentum"] == 0.9
    assert recipe["student"]["backbone"] == "test_efficientnet"
    environment = json.loads((done.folder / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.partition("+")[0]
