"""Several teachers: the mean of their probabilities, each with its own classes and scale."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.models.build import build
from segdistill.models.ensemble import Ensemble
from segdistill.models.spec import NetworkSpec

SMALL = {"backbone": "test_resnet", "head": "fcn", "channels": 8}


def test_their_probabilities_are_averaged_on_the_finest_grid() -> None:
    fine, coarse = (build(NetworkSpec(**SMALL, output_stride=stride), 4).eval() for stride in (8, 32))
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        logits = Ensemble([fine, coarse]).eval()(image).logits
        a, b = fine(image).logits, coarse(image).logits
    b = torch.nn.functional.interpolate(b, a.shape[-2:], mode="bilinear", align_corners=False)
    torch.testing.assert_close(logits.exp(), (a.softmax(1) + b.softmax(1)) / 2)


@pytest.fixture(scope="module")
def teachers(tiny: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folders = [tmp_path_factory.mktemp("teachers") / name for name in ("a", "b")]
    for seed, folder in enumerate(folders):
        segdistill.train(*tiny, "role=teacher", "teacher.train.steps=1", f"seed={seed}", f"out={folder}", quiet=True)
    return [str(folder) for folder in folders]


def _distil(tiny: tuple[str, ...], out: Path, teachers: object, *words: str) -> None:
    words = (*tiny, "steps=2", "baseline=none", f"out={out}", *words)
    segdistill.distill(*words, teacher={"weights": teachers, "check": False}, quiet=True)


def test_a_run_of_two_teachers_cached_and_asked(tiny: tuple[str, ...], teachers: list[str], tmp_path: Path) -> None:
    _distil(tiny, tmp_path / "asked", [{"weights": teachers[0], "input_scale": 0.5}, teachers[1]], "kd")
    recorded = yaml.safe_load((tmp_path / "asked" / "recipe.yaml").read_text())["teacher"]["weights"]
    assert recorded == [{"weights": teachers[0], "input_scale": 0.5}, {"weights": teachers[1]}]
    assert "mean of 2 networks" in (tmp_path / "asked" / "table.md").read_text()
    _distil(tiny, tmp_path / "cached", teachers, "kd", "teacher.cache=logits")


def test_methods_that_read_features_are_refused(tiny: tuple[str, ...], teachers: list[str], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'teacher.weights': of several teachers .* cwd reads its embedding"):
        _distil(tiny, tmp_path / "run", teachers, "cwd", "method.cwd.source=embedding")
    assert not (tmp_path / "run").exists()


def test_one_map_for_all_is_refused(tiny: tuple[str, ...], teachers: list[str], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="each has its own class_map"):
        _distil(tiny, tmp_path / "run", teachers, "kd", "teacher.class_map=names")
    with pytest.raises(RecipeError, match=r"teacher\.weights"):
        _distil(tiny, tmp_path / "run", [], "kd")
