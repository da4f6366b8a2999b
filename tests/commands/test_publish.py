"""A published folder: a card that the hub's library reads, networks that answer as before, and damage that is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import EvalResult, HfApi, ModelCard, constants
from safetensors.torch import load_file

import segdistill as sd
from segdistill.models.hub import MANIFEST
from segdistill.studies.stored import load_study

IMAGE = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[str, ...]) -> Path:
    """A finished distillation."""
    folder = tmp_path_factory.mktemp("publish") / "run"
    sd.distill(*tiny, "kd", "inference.flip=true", out=folder, quiet=True)
    return folder


@pytest.fixture
def published(run: Path, tmp_path: Path) -> Path:
    return sd.publish(run, "user/streets-tiny", out=tmp_path / "hub", license="apache-2.0", onnx=False).folder


def logits(network: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        scores: torch.Tensor = network(IMAGE).logits
    return scores


def test_a_published_folder_answers_as_its_run(run: Path, published: Path) -> None:
    images = (IMAGE[0] * 255).byte()
    expected = sd.load_model(run)
    for name in (published, f"hf-segdistill:{published}", f"hf:{published}"):
        network = sd.load_model(name)
        assert torch.equal(logits(network), logits(expected))
        assert network.classes == expected.classes
        assert (network.predict(images).confidence == expected.predict(images).confidence).all()  # flipped, as the run
    written = (published / "recipe.yaml").read_text()
    assert str(run) not in written
    assert not (published / "student.onnx").exists()


def test_the_card_has_the_scores_as_metadata(run: Path, published: Path) -> None:
    study = load_study(run)
    card = ModelCard.load(published / "README.md", ignore_metadata_errors=False)
    assert card.data.license == "apache-2.0"
    assert "What the data set's own terms say" in card.text
    assert card.data.library_name == "segdistill"
    assert card.data.pipeline_tag == "image-segmentation"
    results = card.data.eval_results
    assert results is not None
    assert all(isinstance(each, EvalResult) for each in results)
    by_kind = {each.metric_type: each for each in results}
    assert by_kind["mean_iou"].metric_value == pytest.approx(study.outcomes[1].miou, abs=1e-3)
    assert by_kind["mean_iou"].dataset_name == "streets"
    assert "edge_mean_iou" in by_kind
    assert (run / "table.md").read_text().strip() in card.text
    assert "Its study has seed 0" in card.text
    assert 'load_model("hf-segdistill:user/streets-tiny")' in card.text
    assert "sky, " in card.text


@pytest.mark.parametrize("refit_images", [0, 4])
def test_a_run_without_a_study_has_its_own_scores(
    refit_images: int, run: Path, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    done = sd.train(*tiny, out=tmp_path / "alone", quiet=True, refit_images=refit_images)
    folder = sd.publish(done.folder, "user/alone", onnx=False).folder
    assert folder == tmp_path / "alone" / "published"
    card = ModelCard.load(folder / "README.md")
    assert card.data.eval_results is not None
    assert card.data.eval_results[0].metric_value == pytest.approx(done.scores.miou, abs=1e-3)
    assert card.data.license is None
    assert "license of the weights is not stated" in card.text
    within = sd.publish(run / "alone", "user/alone", out=tmp_path / "within", onnx=False).folder
    value = ModelCard.load(within / "README.md").data.eval_results[0].metric_value  # type: ignore[index]
    assert value == pytest.approx(load_study(run).outcomes[0].miou, abs=1e-3)


@pytest.mark.parametrize("name", ["student.safetensors", "student.yaml", MANIFEST])
@pytest.mark.parametrize("missing", [False, True])
def test_a_damaged_file_is_named(published: Path, name: str, missing: bool) -> None:
    file = published / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if missing:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(sd.SegdistillError, match=MANIFEST if missing else name.replace(".", r"\.")):
        sd.load_model(f"hf-segdistill:{published}")


def test_a_network_saves_itself(run: Path, tmp_path: Path) -> None:
    network = sd.load_model(run)
    network.save_pretrained(tmp_path / "saved", license="mit")
    again = sd.SegmentationNetwork.from_pretrained(tmp_path / "saved")
    assert torch.equal(logits(again), logits(network))
    assert ModelCard.load(tmp_path / "saved" / "README.md").data.license == "mit"
    tensors = load_file(tmp_path / "saved" / "student.safetensors")
    assert tensors.keys() == network.state_dict().keys()
    wrapped = sd.wrap(torch.nn.Conv2d(3, 2, 1), 2, classifier="output")
    with pytest.raises(sd.SegdistillError, match="of another library"):
        wrapped.save_pretrained(tmp_path / "wrapped")
    assert not (tmp_path / "wrapped").exists()


def test_a_user_s_files_in_the_folder_stay(run: Path, tmp_path: Path) -> None:
    sd.publish(run, "user/streets-tiny", out=tmp_path / "hub", onnx=False)
    (tmp_path / "hub" / "LICENSE").write_text("mine")
    done = sd.publish(run, "user/streets-tiny", out=tmp_path / "hub", onnx=False)
    assert (tmp_path / "hub" / "LICENSE").read_text() == "mine"
    assert "LICENSE" not in done.files


@pytest.mark.slow
def test_an_onnx_file_goes_with_it(run: Path, tmp_path: Path) -> None:
    done = sd.publish(run, "user/streets-tiny", out=tmp_path / "hub", onnx=True, quiet=True)
    assert {"student.onnx", "run_onnx.py", "export.json", "README.md", "student.safetensors"} <= {*done.files}
    assert "student.onnx" in (tmp_path / "hub" / "README.md").read_text()
    sd.load_model(tmp_path / "hub")
    done = sd.publish(run, "user/streets-tiny", out=tmp_path / "hub", onnx=False)
    assert not (tmp_path / "hub" / "student.onnx").exists()
    assert sorted(file.name for file in (tmp_path / "hub").iterdir()) == [*done.files]


def test_nothing_is_uploaded_unless_asked_for(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Any]] = []
    address = "https://hub.example/user/net"
    monkeypatch.setattr(HfApi, "create_repo", lambda self, name, **keys: calls.append((name, keys)) or address)
    monkeypatch.setattr(HfApi, "upload_folder", lambda self, **keys: calls.append(("folder", keys)))
    assert sd.publish(run, "user/net", out=tmp_path / "hub", onnx=False).url is None
    assert not calls
    done = sd.publish(run, "user/net", out=tmp_path / "hub", onnx=False, private=True, upload=True)
    assert done.url == address
    assert calls[0] == ("user/net", {"private": True, "exist_ok": True})
    assert calls[1][1]["folder_path"] == done.folder
    assert {*calls[1][1]["allow_patterns"]} == {*done.files} == {file.name for file in done.folder.iterdir()}


def test_what_can_not_be_published_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(sd.SegdistillError, match="expected user/name"):
        sd.publish(run, "streets")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(sd.SegdistillError, match="is not empty and holds no published network"):
        sd.publish(run, "user/net", out=tmp_path / "full", onnx=False)
    with pytest.raises(sd.SegdistillError, match="Can't take 'user/no-such-network' from the Hugging Face hub"):
        sd.load_model("hf-segdistill:user/no-such-network")
    with pytest.raises(sd.SegdistillError, match="expected user/name, or a folder that publish wrote"):
        sd.load_model("hf-segdistill:nowhere")
    with pytest.raises(sd.SegdistillError, match=MANIFEST):
        sd.load_model(f"hf-segdistill:{run}")


def test_the_command_line_says_what_it_wrote(run: Path, tmp_path: Path, segdistill: Any) -> None:
    done = segdistill("publish", run, "user/net", "onnx=false", f"out={tmp_path / 'hub'}", "--json")
    assert done.returncode == 0, done.stderr
    assert "README.md" in json.loads(done.stdout)["files"]
