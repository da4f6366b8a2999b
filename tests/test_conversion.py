"""`inspect` and `convert` from both sides."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filling import oracle_state

import segdistill
from segdistill.core.errors import SegdistillError

IMAGE = torch.rand(1, 3, 65, 97, generator=torch.Generator().manual_seed(0))
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    names = [f"thing {i}" for i in range(19)]
    torch.save({"state_dict": oracle_state("pspnet_r18"), "meta": {"CLASSES": names}}, tmp_path / "psp.pth")
    return tmp_path / "psp.pth"


def test_a_published_file_becomes_a_run_and_a_published_file_again(published: Path, tmp_path: Path) -> None:
    done = segdistill.convert(published, tmp_path / "run")
    assert (done.source, done.target, done.network) == ("openmmlab", "segdistill", "pspnet_r18")
    model, original = segdistill.load_model(tmp_path / "run"), segdistill.load_model(published)
    assert model.classes is not None
    assert model.classes.names[4] == "thing 4"
    assert torch.equal(model(IMAGE).logits, original(IMAGE).logits)
    segdistill.convert(tmp_path / "run", tmp_path / "again.pth", layout="openmmlab")
    again, state = torch.load(tmp_path / "again.pth", weights_only=True), oracle_state("pspnet_r18")
    assert again["meta"]["CLASSES"][4] == "thing 4"
    assert set(again["state_dict"]) == set(state)
    assert all(torch.equal(again["state_dict"][key], value) for key, value in state.items())


def test_a_layout_that_has_no_such_network_is_refused(published: Path, tmp_path: Path) -> None:
    model = segdistill.create_model("mobilenetv2_pspnet", 19)
    with pytest.raises(SegdistillError, match="no names for head"):
        segdistill.convert(published, tmp_path / "out.pth", layout="nvlabs")
    from segdistill.core.classes import unnamed_classes
    from segdistill.models.files import save_model

    save_model(tmp_path / "own", "student", model, model.spec, unnamed_classes(19), None)  # type: ignore[arg-type]
    with pytest.raises(SegdistillError, match="has no network like this one"):
        segdistill.convert(tmp_path / "own", tmp_path / "out.pth", layout="openmmlab")
    with pytest.raises(SegdistillError, match="Did you mean 'openmmlab'"):
        segdistill.convert(published, tmp_path / "out.pth", layout="openmmlap")
    assert not (tmp_path / "out.pth").exists()


def test_nothing_is_overwritten(published: Path, tmp_path: Path) -> None:
    with pytest.raises(SegdistillError, match="exists"):
        segdistill.convert(published, published, layout="openmmlab")
    segdistill.convert(published, tmp_path / "run")
    with pytest.raises(SegdistillError, match="already holds a network"):
        segdistill.convert(published, tmp_path / "run")
    (tmp_path / "recipes").mkdir()
    own_recipe = tmp_path / "recipes" / "teacher.yaml"
    own_recipe.write_text("steps: 7\n")
    with pytest.raises(SegdistillError, match=r"teacher\.yaml exists. Choose another folder, or another role="):
        segdistill.convert(published, tmp_path / "recipes")
    assert own_recipe.read_text() == "steps: 7\n"
    assert [path.name for path in own_recipe.parent.iterdir()] == ["teacher.yaml"]


def test_from_the_command_line(published: Path, tmp_path: Path, segdistill: Command) -> None:
    inspected = segdistill("inspect", published)
    assert inspected.returncode == 0, inspected.stderr
    for words in ("openmmlab", "pspnet_r18", "thing 3", "12.79 M", "every tensor"):
        assert words in inspected.stdout
    assert json.loads(segdistill("inspect", published, "--json").stdout)["network"] == "pspnet_r18"
    done = segdistill("convert", published, tmp_path / "run", "--json")
    assert json.loads(done.stdout)["path"] == str(tmp_path / "run" / "teacher.safetensors")
    wrong = segdistill("inspect", tmp_path / "nowhere.pth")
    assert wrong.returncode == 1
    assert "nowhere.pth" in wrong.stderr
    assert "Traceback" not in wrong.stderr
