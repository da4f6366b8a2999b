"""Several teachers: the mean of their probabilities, each with its own classes and scale."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.methods import create_method
from segdistill.models.build import build
from segdistill.models.ensemble import Ensemble, Views
from segdistill.models.spec import NetworkSpec

SMALL = {"backbone": "test_resnet", "head": "fcn", "channels": 8}


def test_their_probabilities_are_averaged_on_the_finest_grid() -> None:
    fine, coarse = (build(NetworkSpec(**SMALL, output_stride=stride), 4).eval() for stride in (8, 32))
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        logits = Ensemble([fine, coarse]).eval()(image).logits
        a, b = fine(image).logits, coarse(image).logits
    b = torch.nn.functional.interpolate(b, a.shape[-2:], mode="bilinear", align_corners=False)
    torch.testing.assert_close(logits.softmax(1), (a.softmax(1) + b.softmax(1)) / 2)


@pytest.mark.parametrize("name", ["kd", "cwd", "bpkd", "maskd", "aicsd"])
def test_a_mean_of_equals_teaches_as_one_of_them(name: str) -> None:
    """Whatever a method reads of logits: cwd and bpkd also read how large they are, which a softmax leaves open."""
    teacher, student = (build(NetworkSpec(**SMALL, output_stride=8), 4).eval() for _ in range(2))
    image, label = torch.rand(2, 3, 64, 96), torch.randint(0, 4, (2, 64, 96))
    with torch.no_grad():
        one, learner = teacher(image), student(image)
        for mean in (Ensemble([teacher, teacher]), Views(teacher, (1.0,), flip=False)):
            several = mean.eval()(image)
            torch.testing.assert_close(several.logits, one.logits, rtol=1e-4, atol=1e-5)
            torch.manual_seed(0)
            method = create_method(name, student=learner, teacher=one, num_classes=4)
            for term, value in method(learner, one, label).items():
                torch.testing.assert_close(method(learner, several, label)[term], value, rtol=1e-3, atol=1e-5)


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


def test_views_are_averaged_on_the_grid_of_the_image() -> None:
    network = build(NetworkSpec(**SMALL, output_stride=8), 4).eval()
    image = torch.rand(1, 3, 64, 96)
    large = torch.nn.functional.interpolate(image, (128, 192), mode="bilinear", align_corners=False)
    with torch.no_grad():
        logits = Views(network, (1.0, 2.0), flip=True)(image).logits
        parts = [network(each).logits for each in (image, large)] + [
            network(each.flip(3)).logits.flip(3) for each in (image, large)
        ]
    parts = [torch.nn.functional.interpolate(each, (8, 12), mode="bilinear").softmax(1) for each in parts]
    torch.testing.assert_close(logits.softmax(1), torch.stack(parts).mean(0), rtol=1e-4, atol=1e-5)


def test_what_is_cached_may_be_a_mean_over_views(tiny: tuple[str, ...], teachers: list[str], tmp_path: Path) -> None:
    stored = {}
    for name, words in (("plain", ()), ("views", ("teacher.cache_scales=[0.5,1]", "teacher.cache_flip=true"))):
        folder = f"teacher.cache_folder={tmp_path / name}"
        _distil(tiny, tmp_path / f"run_{name}", teachers[0], "kd", "teacher.cache=logits", folder, *words)
        (file,) = (tmp_path / name).rglob("logits.bin")
        stored[name] = file.read_bytes()
    assert len(stored["plain"]) == len(stored["views"])
    assert stored["plain"] != stored["views"]
    with pytest.raises(RecipeError, match="cache is off"):
        _distil(tiny, tmp_path / "off", teachers[0], "kd", "teacher.cache_flip=true")
