"""Networks of other libraries as teachers and students of real, tiny distillations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from quick import cases

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.studies.result import ALONE, Study

Publish = Callable[[str], Any]
SHORT = ("steps=3", "baseline=none", "validate_every=3", "data.count=4")


def _distil(tiny: tuple[str, ...], run: Path, *words: str) -> Study:
    parts = [word for word in tiny if not word.startswith(("teacher.", "data.count"))]
    return segdistill.distill(*parts, "teacher.check=false", "kd", *SHORT, *words, out=run, quiet=True).study


@pytest.mark.parametrize(
    ("teacher", "student"),
    cases(
        [("segformer", "unet"), ("upernet", None)],
        [
            ("unet", "segformer"),
            ("mask2former", "mobilevit"),
            ("eomt", "deeplabv3plus"),
            ("dpt", None),
            ("deeplabv3plus", "upernet"),
            ("maskformer", "eomt"),
            ("beit", "mask2former"),
            ("mobilevit", "lraspp_mobilenet_v3_large"),
        ],
    ),
)
def test_a_published_teacher_and_a_student(
    teacher: str, student: str | None, published: Publish, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    words = [f"teacher.weights={published(teacher).name}"]
    words += [f"student={{name: '{published(student).name}'}}"] if student is not None else []
    study = _distil(tiny, tmp_path / "run", *words)
    assert study.teacher is not None
    assert [row.label for row in study.outcomes] == ["kd"]
    log = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in log if line["kind"] == "train"]
    assert {"task", "kd"} <= set(trained[0])
    assert all(line["kd"] > 0 for line in trained[1:])  # the first step measures the gradients for the share
    assert segdistill.evaluate(tmp_path / "run").classes == segdistill.load_model(tmp_path / "run").classes.names


def test_a_published_network_is_a_student_alone_whose_training_is_not_known(
    published: Publish, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    names = published("segformer").name, published("unet").name
    study = _distil(tiny, tmp_path / "run", f"teacher.weights={names[0]}", f"baseline={names[1]}")
    alone, student = study.outcomes
    (method,) = study.methods()
    assert method.gain is not None
    assert method.gain.mean == pytest.approx(student.miou - alone.miou)
    assert method.cost is None
    assert study.cost(ALONE).parameters != study.cost("kd").parameters
    (row,) = (line for line in (tmp_path / "run" / "table.md").read_text().splitlines() if "| student alone |" in line)
    assert f"| student alone | - | {alone.miou:.2f} |" in row
    assert f"| {study.cost(ALONE).parameters / 1e6:.2f} |" in row
    page = segdistill.report(tmp_path / "run", quiet=True)
    assert page.answer.startswith("kd ")
    assert f">{ALONE}</option>" in page.file.read_text(encoding="utf-8")
    assert not page.warnings


def test_a_teacher_trained_here_from_a_published_one(published: Publish, tiny: tuple[str, ...], tmp_path: Path) -> None:
    """The run can be continued and evaluated, though the folder its teacher started from is gone."""
    folder = tmp_path / "original"
    shutil.copytree(published("segformer").name.partition(":")[2], folder)
    words = (f"teacher.network.name=hf:{folder}", "teacher.network.options.features=[decode_head:input]")
    _distil(tiny, tmp_path / "run", *words, "teacher.train.steps=2", "cwd", "method.cwd.source=embedding")
    shutil.rmtree(folder)
    assert segdistill.evaluate(tmp_path / "run" / "teacher").images > 0
    assert segdistill.load_model(tmp_path / "run" / "teacher").classes is not None


def test_a_teacher_of_other_classes_is_refused_before_anything_is_written(
    published: Publish, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    model = transformers.AutoModelForSemanticSegmentation.from_pretrained(published("segformer").name[3:])
    model.config.id2label = {index: f"thing {index}" for index in range(model.config.num_labels)}
    model.save_pretrained(tmp_path / "other")
    with pytest.raises(RecipeError, match="knows other classes"):
        _distil(tiny, tmp_path / "run", f"teacher.weights=hf:{tmp_path / 'other'}")
    with pytest.raises(RecipeError, match=r"'hff:'\. Did you mean 'hf'\?"):
        _distil(tiny, tmp_path / "run", "teacher.weights=hff:somewhere")
    assert not (tmp_path / "run").exists()


def test_a_published_network_is_evaluated_and_predicts_like_any_other(
    published: Publish, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    data = [word for word in tiny if word == "streets" or word.startswith("data.")]
    scored = segdistill.evaluate(published("unet").name, *data)
    assert scored.images > 0
    assert "road" in scored.classes
