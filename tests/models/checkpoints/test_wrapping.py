"""Weight files as training tools leave them: prefixes, keys, averages; and those of other tools, which are named."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

import segdistill
from segdistill.core.errors import CheckpointError
from segdistill.models.backbones import create_backbone
from segdistill.models.checkpoints.published import as_layout, read_published
from segdistill.models.identify import identify
from segdistill.models.open import create_model

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    """SegFormer-B0 by OpenMMLab's names."""
    return as_layout(create_model("segformer_b0", 3), "openmmlab")  # type: ignore[arg-type]


def _under(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def _zeros(state: State) -> State:
    return {key: torch.zeros_like(value) for key, value in state.items()}


def _inside(state: State, name: str) -> State:
    """As wrappers of submodules write names: backbone.<name>.layers..."""
    return {key.replace("backbone.", f"backbone.{name}.", 1): value for key, value in state.items()}


def _mmcv(state: State) -> State:
    return {**state, **{"ema_" + key.replace(".", "_"): torch.zeros_like(value) for key, value in state.items()}}


PREFIXES = (
    "module.", "model.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.", "net.",
    "segmentor.", "_forward_module.model.net.", "pl_module.student.", "my.own.attribute.",
)  # fmt: skip
KEYS = ("state_dict", "model_state", "net", "ema", "state_dict_ema", "weights", "module", "my_key")
WRAPPINGS: dict[str, Callable[[State], Any]] = {
    **{f"{prefix}x": lambda state, prefix=prefix: {"state_dict": _under(prefix, state)} for prefix in PREFIXES},
    **{f"key {key}": lambda state, key=key: {key: state, "epoch": 1} for key in KEYS},
    "EMA buffers of mmcv": lambda state: {"state_dict": _mmcv(state)},
    "EMA buffers of mmcv, in parallel": lambda state: _under("module.", _mmcv(state)),
    "average beside, timm": lambda state: {"state_dict_ema": _zeros(state), "state_dict": state, "arch": "segformer"},
    "average beside, YOLO": lambda state: {"ema": _zeros(state), "model": state},
    "average within, Lightning": lambda state: {
        "state_dict": {**_under("ema_model.module.", _zeros(state)), **_under("model.", state)}
    },
    "torch's AveragedModel": lambda state: {"n_averaged": torch.tensor(3), **_under("module.", state)},
    "FSDP": lambda state: _under("_fsdp_wrapped_module.", _inside(state, "_fsdp_wrapped_module")),
    "a compiled part": lambda state: _inside(state, "_orig_mod"),
    "DeepSpeed": lambda state: {"module": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}},
    "keys twice": lambda state: {"checkpoint": {"model": _under("module.", state), "loss": torch.tensor(1.0)}},
    "metrics beside": lambda state: {
        "state_dict": {**_under("model.", state), "criterion.weight": torch.ones(3), "iou.matrix": torch.ones(3, 3)},
        "optimizer_states": [{"state": {"a": torch.ones(2)}}],
        "callbacks": {"best": {"score": torch.tensor(1.0)}},
    },
    "student and teacher": lambda state: {"teacher": _zeros(state), "student": state},
    "a list": lambda state: [{"state_dict": state}, {"lr": 0.1}],
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_the_network_is_found_to_the_last_bit(wrapping: str, state: State, tmp_path: Path) -> None:
    torch.save(WRAPPINGS[wrapping](state), tmp_path / "file.pth")
    published = read_published(tmp_path / "file.pth")
    assert (published.layout, published.num_classes) == ("openmmlab", 3)
    assert published.state.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in published.state.items())


def test_it_loads_and_says_what_it_leaves(state: State, tmp_path: Path) -> None:
    half = {key: value.half() for key, value in state.items()}
    torch.save({"ema_state_dict": _zeros(state), "model": _under("module.", half)}, tmp_path / "best.pth.tar")
    inspected = segdistill.inspect(tmp_path / "best.pth.tar")
    assert (inspected.faults, inspected.averages) == ((), ("ema_state_dict",))
    weights = segdistill.load_model(tmp_path / "best.pth.tar").state_dict()["classifier.weight"]
    assert torch.equal(weights, half["decode_head.conv_seg.weight"].float())
    save_file(_under("model.", state), tmp_path / "weights.safetensors")
    assert segdistill.inspect(tmp_path / "weights.safetensors").network == "segformer_b0"


def test_the_teacher_of_a_file_with_both(state: State, tmp_path: Path) -> None:
    torch.save({"teacher": state, "student": _zeros(state)}, tmp_path / "file.pth")
    published = read_published(tmp_path / "file.pth", role="teacher")
    assert torch.equal(published.state["decode_head.conv_seg.weight"], state["decode_head.conv_seg.weight"])


def test_several_networks_without_a_hint_are_refused(tmp_path: Path) -> None:
    torch.save({"generator": {"a.b": torch.ones(1)}, "critic": {"a.b": torch.ones(1)}}, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match=r"several state dicts \(generator, critic\)"):
        segdistill.load_model(tmp_path / "file.pth")


@pytest.mark.parametrize("prefix", ["module.", "model.encoder.", "module._orig_mod.backbone.", ""])
def test_a_backbone_under_any_prefix_fills_one(prefix: str, tmp_path: Path) -> None:
    weights = create_backbone("resnet18").state_dict()
    content = {"state_dict": {**_under(prefix, weights), "fc.weight": torch.ones(10, 512), "epoch": 3}}
    torch.save(content, tmp_path / "file.pth")
    filled = create_backbone("resnet18", weights=tmp_path / "file.pth").state_dict()
    assert all(torch.equal(filled[key], value) for key, value in weights.items())


# --- Files of others -------------------------------------------------------------------------------------------------


def _refusal(path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CheckpointError) as error:
            segdistill.load_model(path)
    text = str(error.value)
    assert str(path) in text
    assert "\x1b" not in text
    return text


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    return smp.Unet("resnet18", encoder_weights=None, classes=3)  # type: ignore[no-any-return]


def test_smps_files_name_its_adapter(unet: nn.Module, tmp_path: Path) -> None:
    unet.save_pretrained(str(tmp_path / "folder"))  # type: ignore[operator]
    torch.save(unet.state_dict(), tmp_path / "state.pth")
    torch.save({"state_dict": _under("model.", unet.state_dict()), "epoch": 3}, tmp_path / "lightning.ckpt")
    assert f"smp:{tmp_path / 'folder'}" in _refusal(tmp_path / "folder")
    assert segdistill.load_model(f"smp:{tmp_path / 'folder'}").num_classes == 3
    for name in ("state.pth", "lightning.ckpt"):
        assert "smp:FOLDER" in _refusal(tmp_path / name)
    assert "smp:" in _refusal(tmp_path / "folder" / "model.safetensors")


def test_names_of_others_name_the_way(tmp_path: Path) -> None:
    network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3
    )
    torch.save(network.state_dict(), tmp_path / "torchvision.pth")
    assert "torchvision" in _refusal(tmp_path / "torchvision.pth")
    torch.save({"decode_head.1.conv_seg.weight": torch.ones(3, 8, 1, 1)}, tmp_path / "ocr.pth")
    assert "mmsegmentation" in _refusal(tmp_path / "ocr.pth")
    torch.save({"some.weight": torch.ones(3)}, tmp_path / "other.pth")
    assert "module:" in _refusal(tmp_path / "other.pth")
    save_file(dict(create_model("mobilenetv2_035_fcn", 3).state_dict()), tmp_path / "own.safetensors")
    assert "own.yaml" in _refusal(tmp_path / "own.safetensors")


def test_a_pickled_network_names_its_classes_and_what_to_save(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), tmp_path / "whole.pth")
    text = _refusal(tmp_path / "whole.pth")
    assert "torch.nn.modules.container.Sequential" in text
    assert "state_dict()" in text


def test_compiled_networks_and_files_of_other_tools_are_named(tmp_path: Path) -> None:
    small = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(small, torch.rand(1, 3, 32, 32))
        traced.save(str(tmp_path / "traced.pt"))
    assert "TorchScript" in _refusal(tmp_path / "traced.pt")
    assert segdistill.wrap(traced, 3, classifier="output")(torch.rand(1, 3, 9, 9)).logits.shape == (1, 3, 9, 9)
    files = {"a.onnx": "ONNX", "a.h5": "Keras", "a.pdparams": "Paddle", "a.engine": "TensorRT", "a.tflite": "Lite"}
    for name, tool in files.items():
        (tmp_path / name).write_bytes(b"\x08\x07")
        assert tool in _refusal(tmp_path / name)
        if tool != "ONNX":  # which exported files are
            with pytest.raises(CheckpointError, match=tool):
                segdistill.inspect(tmp_path / name)
    (tmp_path / "weights.pt").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(20))
    assert "Keras" in _refusal(tmp_path / "weights.pt")


@pytest.mark.parametrize("name", ["file.pth", "file.safetensors"])
def test_what_is_in_the_place_of_a_weight_file_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    assert "git lfs pull" in _refusal(tmp_path / name)
    (tmp_path / name).write_text("\n<!DOCTYPE html><html><body>Sign in</body></html>")
    assert "web page" in _refusal(tmp_path / name)


def test_a_file_is_read_by_its_bytes_and_not_by_its_name(state: State, tmp_path: Path) -> None:
    save_file(state, tmp_path / "tensors.pth")
    torch.save({"state_dict": state}, tmp_path / "archive.safetensors")
    for name in ("tensors.pth", "archive.safetensors"):
        assert segdistill.inspect(tmp_path / name).network == "segformer_b0"


def test_a_missing_file_is_named_as_missing(tmp_path: Path) -> None:
    for name in ("none.pth", "none.safetensors", "none"):
        with pytest.raises(CheckpointError, match="No weight file"):
            identify(tmp_path / name)
