"""Weight files: what is saved comes back, what does not fit is refused with its name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from segdistill.core.classes import Classes
from segdistill.core.errors import CheckpointError, RecipeError
from segdistill.models.backbones import create_backbone
from segdistill.models.build import build
from segdistill.models.files import read_weights, save_model, save_weights
from segdistill.models.open import create_model, load_checkpoint, load_model
from segdistill.models.segmenter import Segmenter
from segdistill.models.skip_init import skip_init
from segdistill.models.spec import NetworkSpec
from segdistill.models.zoo import resolve_spec

BACKBONE = "mobilenetv2_035"
CLASSES = Classes(names=("road", "car", "Straße"), colors=((128, 64, 128), (0, 0, 142), (1, 2, 3)))


def _spec(**options: object) -> NetworkSpec:
    head = {"name": "pspnet", "channels": 8, "scales": [1, 2]}
    spec = {"backbone": BACKBONE, "head": head, "output_stride": 16, "auxiliary_channels": 8}
    return resolve_spec(spec | options)


def _saved(folder: Path, role: str = "student", seed: int = 0, **options: object) -> Segmenter:
    """A network whose running statistics are not those of a new one, saved into `folder`."""
    torch.manual_seed(seed)
    spec = _spec(**options)
    network = build(spec, len(CLASSES)).train()
    network(torch.rand(2, 3, 32, 32))
    save_model(folder, role, network, spec, CLASSES, {"steps": 3})
    return network.eval()


def _same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[key]) for key, value in ours.items())


def _scores(network: nn.Module) -> Tensor:
    with torch.no_grad():
        logits: Tensor = network(torch.rand(1, 3, 33, 47, generator=torch.Generator().manual_seed(1))).logits
    return logits


@pytest.mark.parametrize("mean", [None, (0.1, 0.2, 0.3)])
def test_a_saved_model_comes_back_bit_for_bit(tmp_path: Path, mean: tuple[float, ...] | None) -> None:
    network = _saved(tmp_path, mean=mean)
    for path in (tmp_path, tmp_path / "student.safetensors", str(tmp_path)):
        loaded = load_model(path)
        assert _same(loaded, network)
        assert torch.equal(_scores(loaded), _scores(network))
        assert not loaded.training
        assert loaded.classes == CLASSES


@pytest.mark.parametrize("name", ["pspnet_r18", "segformer_b0", "mobilenetv2_035_fcn"])
def test_a_network_that_is_filled_at_once_draws_no_random_number(name: str) -> None:
    before = torch.get_rng_state()
    with skip_init():
        network = build(resolve_spec({"name": name}), 3)
    assert torch.equal(torch.get_rng_state(), before)
    # What no weight file holds, and what is constant, is there all the same.
    for ours, theirs in zip(network.buffers(), build(network.spec, 3).buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_saving_leaves_two_files_and_nothing_else(tmp_path: Path) -> None:
    _saved(tmp_path / "new" / "run", seed=0)
    second = _saved(tmp_path / "new" / "run", seed=1)
    assert sorted(file.name for file in (tmp_path / "new" / "run").iterdir()) == [
        "student.safetensors",
        "student.yaml",
    ]
    assert _same(load_model(tmp_path / "new" / "run"), second)


def test_a_folder_gives_its_student_or_else_its_teacher(tmp_path: Path) -> None:
    teacher = _saved(tmp_path, "teacher", seed=1)
    assert _same(load_model(tmp_path), teacher)
    student = _saved(tmp_path, "student", seed=2)
    assert _same(load_model(tmp_path), student)
    assert _same(load_model(tmp_path / "teacher.safetensors"), teacher)


def test_a_model_made_from_a_backbone_file_loads_without_that_file(tmp_path: Path) -> None:
    weights = _backbone_file(tmp_path / "backbone.safetensors")
    network = _saved(tmp_path / "run", backbone_weights=str(weights))
    weights.unlink()
    assert _same(load_model(tmp_path / "run"), network)


def test_load_checkpoint_fills_a_network_and_says_from_where(tmp_path: Path) -> None:
    network = _saved(tmp_path, seed=1)
    torch.manual_seed(2)
    other = build(_spec(), len(CLASSES))
    assert not _same(other, network)
    assert load_checkpoint(other, tmp_path).path == tmp_path / "student.safetensors"
    assert _same(other, network)


def test_create_model_takes_the_weights_of_a_run(tmp_path: Path) -> None:
    spec = resolve_spec({"name": "mobilenetv2_035_fcn"})
    network = build(spec, 4)
    colors = tuple((i, i, i) for i in range(4))
    save_model(tmp_path, "student", network, spec, Classes(names=("a", "b", "c", "d"), colors=colors), None)
    assert _same(create_model("mobilenetv2_035_fcn", 4, weights=tmp_path), network)


def test_the_weights_of_another_network_are_refused_and_the_tensors_named(tmp_path: Path) -> None:
    _saved(tmp_path)
    wider = build(_spec(head={"name": "pspnet", "channels": 12, "scales": [1, 2, 3]}), len(CLASSES) + 1)
    before = {key: value.clone() for key, value in wider.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(wider, tmp_path)
    message = str(error.value)
    assert str(tmp_path / "student.safetensors") in message
    assert "missing head.branches.2.0.weight" in message
    assert " more" in message
    assert all(torch.equal(value, before[key]) for key, value in wider.state_dict().items())


def test_other_numbers_of_classes_are_refused_with_both_shapes(tmp_path: Path) -> None:
    _saved(tmp_path)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(build(_spec(), 5), tmp_path)
    assert "4 tensors" in str(error.value)
    assert "classifier.weight is (3, 8, 1, 1), the network has (5, 8, 1, 1)" in str(error.value)


def test_tensors_that_are_left_over_are_refused(tmp_path: Path) -> None:
    _saved(tmp_path)
    with pytest.raises(CheckpointError, match=r"surplus auxiliary\.conv\.0\.weight"):
        load_checkpoint(build(_spec(auxiliary_channels=0), len(CLASSES)), tmp_path)


@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    network = _saved(tmp_path)
    file = tmp_path / "student.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    for load in (load_model, lambda path: load_checkpoint(network, path)):
        with pytest.raises(CheckpointError, match=r"Can't read .*student\.safetensors"):
            load(tmp_path)


def test_weights_without_a_description_are_refused(tmp_path: Path) -> None:
    _saved(tmp_path)
    (tmp_path / "student.yaml").unlink()
    with pytest.raises(CheckpointError, match=r"student\.safetensors has no student\.yaml beside it"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "network: [",
        "just words",
        "network: {backbone: mobilenetv2_035}",
        "network: {spine: x}\nclasses: []",
        "network: {backbone: mobilenetv2_035}\nclasses: [{name: a, color: [1, 2]}]",
        "network: {backbone: mobilenetv2_035}\nclasses: [{name: a, color: 7}]",
        "network: {backbone: mobilenetv2_035}\nclasses: [{name: a, color: [0, 0, 99999999999999999999]}]",
    ],
)
def test_a_description_that_describes_nothing_is_refused(tmp_path: Path, text: str) -> None:
    _saved(tmp_path)
    (tmp_path / "student.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=r"student\.yaml does not describe a network"):
        load_model(tmp_path)


def test_a_description_that_is_no_text_is_refused(tmp_path: Path) -> None:
    _saved(tmp_path)
    (tmp_path / "student.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(CheckpointError, match=r"student\.yaml does not describe a network"):
        load_model(tmp_path)


def test_a_path_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for path, message in (
        (tmp_path, "holds no student.safetensors or teacher.safetensors"),
        (tmp_path / "nowhere", "No weight file or run folder"),
        (tmp_path / "notes.txt", "its bytes are not those of a torch file"),
    ):
        with pytest.raises(CheckpointError) as error:
            load_model(path)
        assert str(path) in str(error.value)
        assert message in str(error.value)


def _backbone_file(file: Path, name: str = BACKBONE, seed: int = 7) -> Path:
    """The weights of timm's whole classifier `name`, as published files hold them."""
    torch.manual_seed(seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(timm.create_model(name).state_dict(), file)
    return file


@pytest.mark.parametrize("name", [BACKBONE, "test_efficientnet", "test_resnet", "test_convnext", "test_nfnet"])
def test_a_backbone_takes_a_published_classifier_file(tmp_path: Path, name: str) -> None:
    file = _backbone_file(tmp_path / f"{name}.safetensors", name)
    full = timm.create_model(name).eval()
    full.load_state_dict(load_file(file))
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for path in (file, tmp_path, str(file)):
        backbone = create_backbone(name, weights=path).eval()
        with torch.no_grad():
            last = backbone(image)[-1]
            want = full.forward_intermediates(image, intermediates_only=True)[-1]
        assert torch.equal(last, want)


def test_a_network_takes_a_backbone_file_and_keeps_its_own_head(tmp_path: Path) -> None:
    file = _backbone_file(tmp_path / "weights.safetensors")
    network = build(_spec(backbone_weights=str(file)), len(CLASSES))
    tensors = load_file(file)
    backbone = network.backbone.state_dict()
    assert backbone
    assert all(torch.equal(value, tensors[key]) for key, value in backbone.items())


@pytest.mark.parametrize("other", ["mobilenetv2_050", "test_resnet"])
def test_the_file_of_another_backbone_is_refused(tmp_path: Path, other: str) -> None:
    file = _backbone_file(tmp_path / "weights.safetensors", other)
    with pytest.raises(CheckpointError) as error:
        create_backbone(BACKBONE, weights=file)
    assert str(file) in str(error.value)
    assert f"not those of backbone '{BACKBONE}'" in str(error.value)
    assert re.search(r"\([1-9]\d* tensors do not fit\):\n  \w+", str(error.value)), "what does not fit is listed"


def test_backbone_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    for path, file in (
        (tmp_path, tmp_path / f"{BACKBONE}.safetensors"),
        (tmp_path / "none.safetensors", tmp_path / "none.safetensors"),
    ):
        with pytest.raises(CheckpointError) as error:
            create_backbone(BACKBONE, weights=path)
        assert f"No backbone weights {file}" in str(error.value)
        assert "backbone_weights" in str(error.value)
        assert BACKBONE in str(error.value)


def test_backbone_weights_cut_short_are_refused(tmp_path: Path) -> None:
    file = _backbone_file(tmp_path / "weights.safetensors")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"Can't read .*weights\.safetensors"):
        create_backbone(BACKBONE, weights=file)


@pytest.mark.parametrize("name", ["mobilenetv2_100", "tf_efficientnet_lite2"])
def test_the_published_backbones_load(name: str, shared: Path) -> None:
    weights = shared / "weights"
    tensors = load_file(weights / f"{name}.safetensors")
    for path in (weights, weights / f"{name}.safetensors"):
        backbone = create_backbone(name, output_stride=16, weights=path)
        assert all(torch.equal(value, tensors[key]) for key, value in backbone.state_dict().items())


def test_a_tensor_of_two_names_is_saved_for_each(tmp_path: Path) -> None:
    shared = torch.rand(3, 4)
    save_weights(tmp_path / "x.safetensors", {"a": shared, "b": shared, "row": shared[1]})
    back = read_weights(tmp_path / "x.safetensors")
    assert torch.equal(back["a"], shared)
    assert torch.equal(back["b"], shared)
    assert torch.equal(back["row"], shared[1])
    with pytest.raises(RecipeError, match="'extra', a dict"):
        save_weights(tmp_path / "y.safetensors", {"extra": {}})  # type: ignore[dict-item]
