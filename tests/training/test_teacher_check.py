"""A teacher that only guesses is refused before anything is trained, with the likely reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from painted import paint

import segdistill
from segdistill.core.errors import TrainingError
from segdistill.evaluation.metrics import ConfusionMatrix
from segdistill.evaluation.teacher_check import chance

STUDENT = "student={backbone: mobilenetv2_035, head: fcn, channels: 8, auxiliary_channels: 0}"
SHORT = ("augment.crop=[32,32]", "steps=1", "batch_size=2", "workers=0", "baseline=none", "kd")


def distill(folder: Path, teacher: str, *more: str) -> Path:
    root = folder / "data" if (folder / "data").exists() else paint(folder / "data")
    words = ("folder", STUDENT, *SHORT, f"data.root={root}", f"teacher.weights={teacher}", *more)
    return segdistill.distill(*words, out=folder / "run", quiet=True).folder


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        ("module:painted:shifted", ["its class index - 1", "teacher.class_map"]),
        ("{name: 'module:painted:in_order', mean: [-5, -5, -5], std: [0.1, 0.1, 0.1]}", ["ImageNet's mean and std"]),
    ],
    ids=["class order", "normalisation"],
)
def test_a_teacher_near_chance_is_refused_with_the_likely_cause(tmp_path: Path, teacher: str, words: list[str]) -> None:
    with pytest.raises(TrainingError, match="hardly better than guessing") as caught:
        distill(tmp_path, teacher)
    assert all(word in str(caught.value) for word in [*words, "teacher.check=false"]), caught.value
    assert not (tmp_path / "run").exists()
    assert (distill(tmp_path, teacher, "teacher.check=false") / "student.safetensors").is_file()


def test_a_study_refuses_it_before_it_is_begun(tmp_path: Path) -> None:
    words = ["folder", STUDENT, *SHORT[:-2], f"data.root={paint(tmp_path / 'data')}"]
    untrained = STUDENT.replace("student", "teacher.network")
    segdistill.train(*words, untrained, "role=teacher", out=tmp_path / "teacher", quiet=True)
    words += [f"teacher.weights={tmp_path / 'teacher'}", f"out={tmp_path / 'study'}"]
    with pytest.raises(TrainingError, match=r"hardly better than guessing.*trained on these classes, to the end"):
        segdistill.compare(*words, methods="kd", seeds="0", quiet=True)
    assert not (tmp_path / "study").exists()


def test_a_good_teacher_is_let_through(tmp_path: Path) -> None:
    folder = distill(tmp_path, "module:painted:in_order")
    assert (folder / "student.safetensors").is_file()
    assert "check" not in yaml.safe_load((folder / "recipe.yaml").read_text())["teacher"]


@pytest.mark.parametrize("share", [(0.5, 0.5), (0.9, 0.1), (0.4, 0.3, 0.2, 0.1), (0.25, 0.75, 0.0)])
def test_chance_is_what_guesses_reach(share: tuple[float, ...]) -> None:
    """Against guesses that are made: a million pixels, drawn by the shares or all of the most common class."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.tensor(share)
    label, drawn = (torch.multinomial(weights, 10**6, replacement=True, generator=generator) for _ in range(2))
    reached = []
    for guess in (drawn, torch.full_like(label, int(weights.argmax()))):
        matrix = ConfusionMatrix(len(share))
        matrix.update(guess, label)
        reached.append(matrix.scores().miou)
    assert chance(matrix) == pytest.approx(max(reached), abs=0.1)
