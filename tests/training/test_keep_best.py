"""keep=best where no validation pixel has a label: refused before the first step; no run ends without its result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.core.safe_yaml import read_yaml
from segdistill.core.storage import write_yaml
from segdistill.evaluation.metrics import ConfusionMatrix
from segdistill.models.files import read_description
from segdistill.models.open import load_model

WORDS = ("folder", "tiny_pair", "data.classes=[a,b]", "steps=2", "batch_size=2", "augment.crop=[32,32]", "workers=0")


@pytest.fixture
def unlabelled(tmp_path: Path) -> Path:
    """Two training images with labels, two of validation whose masks are all void."""
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
        for i in range(2):
            rng = np.random.default_rng(i)
            pixels = rng.integers(0, 255, (32, 40, 3)).astype(np.uint8)
            label = rng.integers(0, 2, (32, 40)) if split == "train" else np.full((32, 40), 255)
            Image.fromarray(pixels).save(tmp_path / split / "images" / f"{split}{i}.png")
            Image.fromarray(label.astype(np.uint8)).save(tmp_path / split / "masks" / f"{split}{i}.png")
    return tmp_path


@pytest.mark.parametrize("without_masks", [False, True])
def test_it_is_refused_before_the_first_step_and_by_doctor(unlabelled: Path, without_masks: bool) -> None:
    words = (*WORDS, f"data.root={unlabelled}", "keep=best")
    if without_masks:
        for mask in (unlabelled / "val" / "masks").iterdir():
            mask.unlink()
        words = (*words, "data.labels=none")
    with pytest.raises(RecipeError, match=r"keep=best .* none of the 2 validation images .* keep=last"):
        segdistill.train(*words, out=unlabelled / "run", quiet=True)
    assert not (unlabelled / "run").exists()
    problems = segdistill.doctor(*words, quiet=True).problems
    assert sum("keep=best" in finding.text for finding in problems) == 1


def test_a_run_that_has_begun_ends_with_its_last_weights(unlabelled: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words, run = (*WORDS, f"data.root={unlabelled}"), unlabelled / "run"
    segdistill.train(*words, out=run, quiet=True)
    for result in run.glob("student.*"):
        result.unlink()
    recipe = read_yaml(run / "recipe.yaml")  # as a run of before the refusal left it
    write_yaml(run / "recipe.yaml", {**recipe, "keep": "best"})
    done = segdistill.train(*words, "keep=best", out=run, resume=True)
    assert done.best_miou is None
    assert "the last ones are kept" in capfd.readouterr().err
    assert read_description(run / "student.safetensors").trained["keep"] == "last"
    assert load_model(run).num_classes == 2


def test_without_labels_absent_classes_are_no_zero() -> None:
    assert ConfusionMatrix(2).scores(absent="zero").miou != 0  # a zero would be the best of all validations
