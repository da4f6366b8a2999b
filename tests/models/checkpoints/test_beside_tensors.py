"""What stands beside a file's tensors, what a user chose beside them, and files of more than one network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from filling import written

import segdistill
from segdistill.core.errors import CheckpointError
from segdistill.models.backbones import create_backbone
from segdistill.models.checkpoints.published import as_layout, read_published
from segdistill.models.open import create_model
from segdistill.models.segmenter import Segmenter

IMAGE = torch.rand(1, 3, 65, 97, generator=torch.Generator().manual_seed(0))


def _file_of(name: str, layout: str, folder: Path) -> tuple[Path, torch.nn.Module]:
    """A bare state dict as `layout` writes the network `name`, and that network."""
    network = create_model(name, 19)
    return written(folder, as_layout(network, layout)), network.eval()  # type: ignore[arg-type]


MMSEG = """
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[{mean}], std=[58.395, 57.12, 57.375], bgr_to_rgb={rgb}),
    backbone=dict(type='ResNetV1c', depth=18, strides={strides}, dilations={dilations}),
    decode_head=dict(type='ASPPHead', dilations={head}))
"""
IMAGENET = "123.675, 116.28, 103.53"


def _configured(folder: Path, **words: object) -> Path:
    """A file of deeplabv3_r18 in OpenMMLab's layout with a configuration beside its tensors."""
    usual = {"mean": IMAGENET, "rgb": True, "strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4), "head": (1, 12, 24, 36)}
    state = as_layout(create_model("deeplabv3_r18", 19), "openmmlab")  # type: ignore[arg-type]
    torch.save({"state_dict": state, "meta": {"cfg": MMSEG.format(**{**usual, **words})}}, folder / "x.pth")
    return folder / "x.pth"


def test_the_configuration_in_a_file_says_what_no_tensor_shows(tmp_path: Path) -> None:
    assert read_published(_configured(tmp_path)).spec == read_published(written(tmp_path, as_layout(
        create_model("deeplabv3_r18", 19), "openmmlab"))).spec  # type: ignore[arg-type]  # fmt: skip
    strided = {"strides": (1, 2, 2, 1), "dilations": (1, 1, 1, 2), "head": (1, 6, 12, 18)}
    network = segdistill.load_model(_configured(tmp_path, **strided, mean="103.53, 116.28, 123.675", rgb=False))
    asked = {"name": "deeplabv3", "dilations": [6, 12, 18]}
    pixels = {"bgr": True, "mean": network.mean.flatten().tolist(), "std": network.std.flatten().tolist()}
    twin = create_model("deeplabv3_r18", 19, output_stride=16, head=asked, **pixels)
    twin.load_state_dict(network.state_dict())
    assert torch.equal(twin.eval()(IMAGE).logits, network(IMAGE).logits)
    assert network.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    with pytest.raises(CheckpointError, match=r"strides \(1, 1, 1, 1\)"):
        segdistill.load_model(_configured(tmp_path, strides=(1, 1, 1, 1)))


def test_what_a_user_chose_is_kept_beside_a_file_s_weights(tmp_path: Path) -> None:
    path, _ = _file_of("pspnet_r18", "openmmlab", tmp_path)
    chosen = {"output_stride": 32, "dropout": 0.5, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    network = create_model("pspnet_r18", 19, weights=path, **chosen)
    assert isinstance(network, Segmenter)
    assert network.spec is not None
    assert network.spec.model_dump(include=chosen.keys()) == chosen
    assert network.mean.flatten().tolist() == [0.5, 0.5, 0.5]


def test_of_two_networks_in_one_file_none_is_guessed(tmp_path: Path) -> None:
    path, network = _file_of("segformer_b0", "openmmlab", tmp_path)
    state = torch.load(path, weights_only=True)
    other = {key: value + 1 if value.is_floating_point() else value for key, value in state.items()}
    for following in ("encoder_k.", "target.", "momentum."):
        torch.save({**{f"encoder_q.{key}": value for key, value in state.items()},
                    **{f"{following}{key}": value for key, value in other.items()}}, path)  # fmt: skip
        assert torch.equal(segdistill.load_model(path)(IMAGE).logits, network(IMAGE).logits)
    torch.save({**{f"a.{key}": value for key, value in state.items()},
                **{f"b.{key}": value for key, value in other.items()}}, path)  # fmt: skip
    with pytest.raises(CheckpointError, match=r"2 networks, below a\. and b\."):
        segdistill.load_model(path)


@pytest.mark.parametrize(
    ("deep", "shallow"), [("resnet34", "resnet18"), ("mit_b2", "mit_b1"), ("convnext_nano", "convnext_pico")]
)
def test_backbone_weights_of_a_deeper_network_are_refused(deep: str, shallow: str, tmp_path: Path) -> None:
    state = create_backbone(deep).state_dict()
    wanted = create_backbone(shallow)
    path = written(tmp_path, state)
    with pytest.raises(CheckpointError, match=f"not those of backbone '{shallow}'"):
        create_backbone(shallow, weights=str(path))
    whole = {**wanted.state_dict(), "head.fc.weight": torch.zeros(3, 4), "fc.weight": torch.zeros(3, 4)}
    create_backbone(shallow, weights=str(written(tmp_path, whole)))
