"""What a path or name stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import segdistill
from segdistill.core.classes import unnamed_classes
from segdistill.core.errors import CheckpointError, RecipeError
from segdistill.models.adapters.registry import Adapted
from segdistill.models.build import build
from segdistill.models.checkpoints.published import Published, as_layout
from segdistill.models.files import OwnRun, save_model
from segdistill.models.identify import identify
from segdistill.models.segmenter import Segmenter
from segdistill.models.spec import Role
from segdistill.models.zoo import resolve_spec

SPEC = resolve_spec({"name": "mobilenetv2_035_fcn"})


def _save(folder: Path, role: Role) -> Path:
    save_model(folder, role, build(SPEC, 3), SPEC, unnamed_classes(3), {"steps": 7})
    return folder / f"{role}.safetensors"


def test_a_run_folder_or_its_file_is_an_own_run(tmp_path: Path) -> None:
    teacher = _save(tmp_path, "teacher")
    assert identify(tmp_path) == OwnRun(teacher)
    student = _save(tmp_path, "student")
    assert identify(str(tmp_path)) == OwnRun(student)
    assert identify(teacher) == OwnRun(teacher)
    source = identify(tmp_path)
    assert isinstance(source, OwnRun)
    assert (source.layout, source.spec, source.num_classes) == ("segdistill", SPEC, 3)
    assert source.load().trained == {"steps": 7}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_in_a_published_layout_is_published(tmp_path: Path, suffix: str) -> None:
    network = build(resolve_spec({"name": "segformer_b0"}), 5)
    assert isinstance(network, Segmenter)
    torch.save(as_layout(network, "openmmlab"), tmp_path / "weights.pth")
    if suffix == ".safetensors":
        segdistill.convert(tmp_path / "weights.pth", tmp_path / "weights.safetensors", layout="openmmlab")
    source = identify(tmp_path / f"weights{suffix}")
    assert isinstance(source, Published)
    assert (source.layout, source.spec.name, source.num_classes) == ("openmmlab", "segformer_b0", 5)
    assert source.faults() == []


def test_a_name_with_a_prefix_is_a_network_of_another_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = identify("hf:nowhere/none")  # nothing is read before it is loaded
    assert isinstance(source, Adapted)
    assert source.spec.name == "hf:nowhere/none"
    monkeypatch.chdir(tmp_path)
    student = _save(Path("hf:run"), "student")
    assert identify("hf:run") == OwnRun(student)  # a path that exists is a path


def test_what_has_no_weights_of_its_own_is_refused_by_name() -> None:
    with pytest.raises(RecipeError, match=r"'mobilenetv2_035_fcn' is a network without weights.*run folder"):
        segdistill.load_model("mobilenetv2_035_fcn", channels=8)
    with pytest.raises(CheckpointError, match="'hf:nowhere/none' is a network of another library"):
        segdistill.load_checkpoint(build(SPEC, 3), "hf:nowhere/none")
    with pytest.raises(CheckpointError, match="hf:nowhere/none holds a network that was not composed"):
        segdistill.inspect("hf:nowhere/none")


def test_the_teacher_of_generated_scenes_comes_with_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scores = segdistill.evaluate("streets_teacher", "streets", "data.count=20", quiet=True).quality.scores
    assert scores.miou > 60
    (tmp_path / "streets_teacher").mkdir()  # what a user has made goes first
    with pytest.raises(CheckpointError, match="streets_teacher"):
        identify("streets_teacher")
