"""A folder, a key or a teacher that belongs to another verb or run is refused, and never taken for what it is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

import segdistill
from segdistill.core.errors import RecipeError, TrainingError
from segdistill.models.files import read_description
from segdistill.studies.methods import read_methods

STUDENT = "student={backbone: test_resnet, head: fcn, channels: 8}"
NETWORKS = (STUDENT, "teacher.network={backbone: test_resnet, head: fcn, channels: 8}")


@pytest.fixture(scope="module")
def teachers(tiny: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained teachers, a and b."""
    folder = tmp_path_factory.mktemp("teachers")
    for seed, name in enumerate("ab"):
        words = (*tiny, *NETWORKS, "role=teacher", "teacher.train.steps=2", f"seed={seed}")
        segdistill.train(*words, out=folder / name, quiet=True)
    return folder


def test_what_was_trained_alone_is_never_sold_as_distilled(
    tiny: tuple[str, ...], teachers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*tiny, STUDENT, "kd", "steps=2", "baseline=none", f"teacher.weights={teachers / 'a'}")
    segdistill.train(*words, out=tmp_path / "alone")
    assert "train uses no teacher, so kd is left out" in " ".join(capsys.readouterr().err.split())
    assert read_description(tmp_path / "alone" / "student.safetensors").trained["method"] == []
    with pytest.raises(TrainingError, match="method"):
        segdistill.distill(*words, "teacher.check=false", out=tmp_path / "alone", resume=True, quiet=True)
    segdistill.distill(*words, "teacher.check=false", out=tmp_path / "distilled", quiet=True)
    with pytest.raises(TrainingError, match="method"):
        segdistill.train(*words, "teacher.check=false", out=tmp_path / "distilled", resume=True, quiet=True)


def test_a_teacher_is_trained_by_train_only(tiny: tuple[str, ...], tmp_path: Path) -> None:
    for verb, more in ((segdistill.distill, {}), (segdistill.compare, {"methods": "kd"})):
        with pytest.raises(RecipeError, match=r"role=teacher has no meaning here.*segdistill train takes it"):
            verb(*tiny, *NETWORKS, "role=teacher", out=tmp_path / "run", quiet=True, **more)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("several", [False, True])
def test_a_run_that_was_stopped_does_not_go_on_under_another_teacher(
    tiny: tuple[str, ...], teachers: Path, tmp_path: Path, several: bool
) -> None:
    shutil.copytree(teachers / "a", tmp_path / "taught_by")
    weights = f"[{tmp_path / 'taught_by'}, {teachers / 'b'}]" if several else str(tmp_path / "taught_by")
    words = (*tiny, STUDENT, "kd", "steps=2", "baseline=none", "teacher.check=false", f"teacher.weights={weights}")
    segdistill.distill(*words, out=tmp_path / "run", quiet=True)
    for file in [*(tmp_path / "run").glob("student.*"), *(tmp_path / "run").glob("*scores.json")]:
        file.unlink()  # as it was before its last step was measured
    segdistill.distill(*words, out=tmp_path / "run", resume=True, quiet=True)
    shutil.copy(teachers / "b" / "teacher.safetensors", tmp_path / "taught_by")
    with pytest.raises(TrainingError, match=r"holds other weights than those that te?a"):
        segdistill.distill(*words, out=tmp_path / "run", resume=True, quiet=True)


def test_scores_of_a_few_images_are_never_those_of_validation(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = (*tiny, STUDENT, "steps=4", "keep=best", "validate_every=1", f"out={tmp_path / 'run'}")
    few = segdistill.train(*words, "validate_images=1", quiet=True).scores
    again = segdistill.train(*words, resume=True, quiet=True).scores
    assert again == few
    assert again.miou == pytest.approx(segdistill.evaluate(tmp_path / "run", quiet=True).quality.scores.miou, abs=1e-3)


def test_to_refit_a_finished_run_is_answered(
    tiny: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*tiny, STUDENT, "steps=1", f"out={tmp_path / 'run'}")
    segdistill.train(*words, quiet=True)
    capsys.readouterr()
    segdistill.train(*words, "refit_images=4", resume=True)
    assert "it is finished, and refit_images is not applied" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("word", ["void_bellow=0.6", "data.root=x", "steps=3"])
def test_predict_and_submit_refuse_keys_that_say_nothing_of_images(teachers: Path, tmp_path: Path, word: str) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    key = word.partition("=")[0]
    with pytest.raises(RecipeError, match=f"predict has no key '{key}'"):
        segdistill.predict(teachers / "a", tmp_path / "photo.png", out=tmp_path / "masks", parts=[word])
    with pytest.raises(RecipeError, match=f"submit has no key '{key}'"):
        segdistill.submit(teachers / "a", "cityscapes", tmp_path / "photo.png", out=tmp_path / "zip", parts=[word])
    assert not (tmp_path / "masks").exists()


def test_two_entries_of_one_label_are_refused_unless_they_are_one() -> None:
    with pytest.raises(RecipeError, match="two entries are labelled 'x'"):
        read_methods("x={name: cwd},x={name: kd}")
    with pytest.raises(RecipeError, match="two entries are labelled 'kd'"):
        read_methods(["kd", segdistill.MethodSpec("kd", temperature=4)])
    assert [*read_methods("kd,cwd,kd")] == ["kd", "cwd"]
