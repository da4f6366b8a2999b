"""A study whose data or teacher change on the way, and what is compared where seeds are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_studies import outcome, study
from PIL import Image

import segdistill
from segdistill.core.errors import RecipeError, TrainingError
from segdistill.models.files import read_weights, save_weights
from segdistill.reporting.answer import answer
from segdistill.reporting.study_table import cells, markdown
from segdistill.studies.result import ALONE, LONGER, Outcome, Study
from segdistill.studies.summary import summarise


@pytest.fixture
def begun(tiny: tuple[str, ...], tmp_path: Path) -> tuple[str, ...]:
    """The words of a study on files, with a teacher from elsewhere, of which the first run is made."""
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for folder in ("images", "masks"):
            (tmp_path / "data" / split / folder).mkdir(parents=True)
        for number in range(count):
            image = random.integers(0, 256, (32, 48, 3), np.uint8)
            Image.fromarray(image).save(tmp_path / "data" / split / "images" / f"{number}.png")
            label = (image[..., 0] > 128).astype(np.uint8)
            Image.fromarray(label).save(tmp_path / "data" / split / "masks" / f"{number}.png")
    words = "folder", f"data.root={tmp_path / 'data'}", "data.classes=[road,sky]", *tiny[3:], "batch_size=2"
    teacher = segdistill.train(*words, "role=teacher", "teacher.train.steps=1", out=tmp_path / "teacher", quiet=True)
    words = *words, f"teacher.weights={teacher.folder}", "budget=steps:1", f"out={tmp_path / 's'}"
    segdistill.compare(*words, methods="kd", seeds="0", quiet=True)
    return words


def test_changed_masks_are_scored_anew_for_all_runs(begun: tuple[str, ...], tmp_path: Path) -> None:
    for file in (tmp_path / "data" / "val" / "masks").iterdir():
        with Image.open(file) as picture:
            label = np.asarray(picture)
        Image.fromarray(1 - label).save(file)
    done = segdistill.compare(*begun, methods="at", seeds="0", quiet=True)
    for each in done.outcomes:
        reached = segdistill.evaluate(tmp_path / "s" / each.folder, quiet=True).scores.miou
        assert each.miou == pytest.approx(reached, abs=1e-3)
    assert done.teacher is not None
    teacher = segdistill.evaluate(tmp_path / "teacher", quiet=True).scores.miou
    assert done.teacher.miou == pytest.approx(teacher, abs=1e-3)


def test_a_teacher_of_other_weights_is_refused(begun: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "teacher" / "teacher.safetensors"
    save_weights(file, {key: value * 1.5 for key, value in read_weights(file).items()})
    with pytest.raises(RecipeError, match="holds other weights than those that taught the runs"):
        segdistill.compare(*begun, methods="at", seeds="0", quiet=True)


def test_a_distillation_by_a_teacher_of_other_weights_is_another(begun: tuple[str, ...], tmp_path: Path) -> None:
    words = [word for word in begun if not word.startswith(("budget", "out"))]
    keys = {"out": tmp_path / "run", "steps": 1, "baseline": "none", "quiet": True}
    first = segdistill.distill(*words, "kd", **keys)
    assert segdistill.distill(*words, "kd", resume="auto", **keys).study == first.study
    file = tmp_path / "teacher" / "teacher.safetensors"
    save_weights(file, {key: value * 1.5 for key, value in read_weights(file).items()})
    for resume in ("auto", True):
        with pytest.raises(TrainingError, match="other weights than those that taught the student"):
            segdistill.distill(*words, "kd", resume=resume, **keys)


def test_keys_and_seeds_that_make_no_sense_are_refused(begun: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match="baseline=elsewhere has no meaning"):
        segdistill.compare(*begun, "baseline=elsewhere", methods="kd", quiet=True)
    with pytest.raises(RecipeError, match="a seed is 0 or more"):
        segdistill.compare(*begun, methods="kd", seeds="0,-1", quiet=True)


def of(*outcomes: Outcome) -> Study:
    made = study({})
    labels = {each.label: [{"name": "kd"}] for each in outcomes if each.label != ALONE}
    summary = summarise(outcomes, labels, made.classes, None)
    return Study(**{**vars(made), "seeds": (0, 1), "outcomes": outcomes, "summary": summary})


def test_a_method_of_fewer_seeds_is_not_the_best_by_an_easy_one() -> None:
    alone = outcome(ALONE, 0, 59), outcome(ALONE, 1, 45)
    done = of(*alone, outcome("a", 0, 60), outcome("b", 0, 62), outcome("b", 1, 50))
    assert [row.label for row in done.methods()] == ["b", "a"]
    assert done.gain == 4
    longer = of(*alone, outcome("b", 0, 62), outcome("b", 1, 50), outcome(LONGER, 0, 61))
    assert any("b has +1.0 beside it" in line for line in answer(longer).lines())
    assert [row[0] for row in cells(longer)[1]][-3:] == [ALONE, LONGER, "b"]


def test_a_class_of_any_name_is_a_cell_of_the_table() -> None:
    made = of(outcome(ALONE), outcome("a|b <i>", 0, 41))
    lines = [line for line in markdown(made).splitlines() if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1
    assert "<i>" not in "".join(lines)


def test_a_study_goes_on_by_any_path_of_its_folder(
    tiny: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = *tiny, "budget=steps:2", "teacher.train.steps=1", "checkpoint_every=1", "out=s"
    first = segdistill.compare(*words, methods="kd", seeds="0", quiet=True)
    for name in ("student.safetensors", "student.yaml", "scores.json"):
        (tmp_path / "s" / "kd-0" / name).unlink()
    done = segdistill.compare(tmp_path / "s", quiet=True)
    assert done.failures == ()
    assert [each.miou for each in done.outcomes] == [each.miou for each in first.outcomes]
