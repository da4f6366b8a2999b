"""Published files: what they are recognized as and what they load into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from filling import oracle_state, written
from torch import Tensor

import segdistill
from segdistill.core.errors import CheckpointError
from segdistill.models.backbones import create_backbone
from segdistill.models.build import build
from segdistill.models.checkpoints.published import as_layout, read_published
from segdistill.models.open import create_model
from segdistill.models.segmenter import Segmenter
from segdistill.models.zoo import resolve_spec

IMAGE = torch.rand(1, 3, 65, 97, generator=torch.Generator().manual_seed(0))


def _file_of(name: str, layout: str, folder: Path, num_classes: int = 19) -> tuple[Path, torch.nn.Module]:
    """A bare state dict as `layout` writes the network `name`, and that network; its norms are not as new."""
    network = create_model(name, num_classes)
    for value in network.state_dict().values():
        if value.dim() == 1:
            value += 0.1 * torch.rand(len(value))
    return written(folder, as_layout(network, layout)), network.eval()  # type: ignore[arg-type]


CASES = [
    ("pspnet_r18", "openmmlab"),
    ("deeplabv3_r18_cirkd", "cirkd"),
    ("deeplabv3_r18_cirkd2", "cirkd"),
    ("pspnet_r18_cirkd", "cirkd"),
    ("deeplabv3_mv2", "cirkd"),
    ("pspnet_mv2", "cirkd"),
    ("segformer_b0", "openmmlab"),
    ("segformer_b0_original", "nvlabs"),
    ("segformer_b0_cirkd", "cirkd_segformer"),
]


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_a_file_is_recognized_by_its_tensors(name: str, layout: str, tmp_path: Path) -> None:
    path, network = _file_of(name, layout, tmp_path)
    inspection = segdistill.inspect(path)
    assert (inspection.layout, inspection.network, inspection.num_classes, inspection.faults) == (layout, name, 19, ())
    assert inspection.parameters == sum(parameter.numel() for parameter in network.parameters())
    loaded = segdistill.load_model(path)
    assert torch.equal(loaded(IMAGE).logits, network(IMAGE).logits)


# Names and shapes as the published code writes them, from its documented layout.
CIRKD_NAMES = {
    "deeplabv3_r18_cirkd": {
        "pretrained.conv1.weight": (64, 3, 3, 3),
        "pretrained.conv3.weight": (128, 64, 3, 3),
        "pretrained.bn3.running_mean": (128,),
        "pretrained.layer1.0.conv1.weight": (64, 128, 3, 3),
        "pretrained.layer1.0.downsample.0.weight": (64, 128, 1, 1),
        "head.aspp.b0.0.weight": (128, 512, 1, 1),
        "head.aspp.b1.block.0.weight": (128, 512, 3, 3),
        "head.aspp.b4.gap.1.weight": (128, 512, 1, 1),
        "head.aspp.b4.gap.2.running_var": (128,),
        "head.aspp.project.0.weight": (128, 640, 1, 1),
        "head.block.0.weight": (128, 128, 3, 3),
        "head.block.4.weight": (19, 128, 1, 1),
        "head.block.4.bias": (19,),
        "auxlayer.block.0.weight": (64, 256, 3, 3),
        "auxlayer.block.4.weight": (19, 64, 1, 1),
    },
    "deeplabv3_r101_cirkd2": {
        "pretrained.layer1.0.conv1.weight": (64, 128, 1, 1),
        "head.aspp.b1.block.0.weight": (512, 2048, 3, 3),
        "head.block.4.weight": (19, 512, 1, 1),
        "auxlayer.block.0.weight": (256, 1024, 3, 3),
    },
    "pspnet_r101_cirkd": {
        "head.psp.conv1.0.weight": (512, 2048, 1, 1),
        "head.block.0.weight": (512, 4096, 3, 3),
        "head.classifier.weight": (19, 512, 1, 1),
    },
    "deeplabv3_mv2": {
        "pretrained.net.features.0.0.weight": (32, 3, 3, 3),
        "pretrained.net.features.1.conv.0.weight": (32, 1, 3, 3),
        "pretrained.net.features.1.conv.3.weight": (16, 32, 1, 1),
        "pretrained.net.features.2.conv.3.weight": (96, 1, 3, 3),
        "pretrained.net.features.17.conv.7.weight": (320,),
    },
}
CIRKD_COUNTS = {
    "deeplabv3_r101_cirkd": 688,
    "deeplabv3_r18_cirkd": 190,
    "pspnet_r18_cirkd": 178,
    "deeplabv3_mv2": 350,
    "segformer_b0_cirkd": 193,
    "segformer_b4_cirkd": 849,
}


def _names(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        network = create_model(name, 19)
    layout = "cirkd_segformer" if "segformer" in name else "cirkd"
    return {key: tuple(value.shape) for key, value in as_layout(network, layout).items()}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CIRKD_NAMES)
def test_cirkd_names_and_shapes(name: str) -> None:
    ours = _names(name)
    assert {key: ours.get(key) for key in CIRKD_NAMES[name]} == CIRKD_NAMES[name]


@pytest.mark.parametrize("name", CIRKD_COUNTS)
def test_cirkd_files_have_as_many_tensors_as_the_published_ones(name: str) -> None:
    assert len(_names(name)) == CIRKD_COUNTS[name]


def test_cirkd_networks_see_bgr_pixels_without_their_mean(tmp_path: Path) -> None:
    network = create_model("pspnet_r18_cirkd", 19)
    pixels = torch.rand(1, 3, 8, 8)
    want = pixels.flip(1) * 255 - torch.tensor([104.00698793, 116.66876762, 122.67891434]).view(3, 1, 1)
    torch.testing.assert_close(network.normalize(pixels), want, rtol=0, atol=1e-3)


def test_a_vanilla_stem_is_distinguished_from_a_deep_one(tmp_path: Path) -> None:
    network = create_model("deeplabv3_r18_cirkd", 19, backbone="resnet18_vanilla")
    inspection = segdistill.inspect(written(tmp_path, as_layout(network, "cirkd")))  # type: ignore[arg-type]
    assert inspection.made_of["backbone"] == "resnet18_vanilla"
    assert inspection.faults == ()


@pytest.mark.parametrize("generation", ["deeplabv3_r18_cirkd", "deeplabv3_r18_cirkd2"])
def test_a_network_takes_the_widths_of_the_generation_it_is_given(generation: str, tmp_path: Path) -> None:
    path, network = _file_of(generation, "cirkd", tmp_path)
    ours = create_model("deeplabv3_r18", 19)
    done = segdistill.load_checkpoint(ours, path)
    assert (done.layout, done.network, done.adapted) == ("cirkd", generation, True)
    assert torch.equal(ours.eval()(IMAGE).logits, network(IMAGE).logits)
    made = create_model("deeplabv3_r18", 19, weights=path).eval()
    assert torch.equal(made(IMAGE).logits, network(IMAGE).logits)


@pytest.mark.parametrize(
    ("wrap", "part"),
    [
        (lambda state: state, "student"),
        (lambda state: {"state_dict": state}, "student"),
        (lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}}, "student"),
        (lambda state: {"state_dict": _run(state, "architecture.model.", "distiller.teacher.")}, "student"),
        (lambda state: {"state_dict": _run(state, "architecture.", "teacher.")}, "student"),
        (lambda state: {"state_dict": _run(state, "architecture.model.", "distiller.teacher.", swap=True)}, "teacher"),
    ],
    ids=["bare", "wrapped", "parallel", "mmrazor 0", "mmrazor 1", "the teacher of a run"],
)
def test_the_wrappings_of_openmmlab_files(wrap: Any, part: Any, plain_logits: Tensor, tmp_path: Path) -> None:
    state = oracle_state("pspnet_r18")
    network = create_model("pspnet_r18", 19)
    done = segdistill.load_checkpoint(network, written(tmp_path, wrap(state)), part=part)
    assert (done.layout, done.network, done.adapted) == ("openmmlab", "pspnet_r18", False)
    assert torch.equal(network.eval()(IMAGE).logits, plain_logits)


@pytest.fixture(scope="module")
def plain_logits(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """Of the file as OpenMMLab writes it."""
    path = written(tmp_path_factory.mktemp("plain"), {"state_dict": oracle_state("pspnet_r18")})
    with torch.no_grad():
        return read_published(path).load().network(IMAGE).logits


def _run(state: dict[str, Tensor], student: str, teacher: str, *, swap: bool = False) -> dict[str, Tensor]:
    """Both networks of a distillation run in one file; the other one is all zeros."""
    zeros = {key: torch.zeros_like(value) for key, value in state.items()}
    first, second = (zeros, state) if swap else (state, zeros)
    return {f"{student}{k}": v for k, v in first.items()} | {f"{teacher}{k}": v for k, v in second.items()}


def test_class_names_and_colors_come_from_the_file(tmp_path: Path) -> None:
    names = tuple(f"thing {i}" for i in range(19))
    meta = {"CLASSES": names, "PALETTE": [[i, 2 * i, 3 * i] for i in range(19)], "mmseg_version": "0.26.0", "iter": 8}
    path = written(tmp_path, {"state_dict": oracle_state("pspnet_r18"), "meta": meta})
    classes = segdistill.load_model(path).classes
    assert classes is not None
    assert classes.names == names
    assert classes.colors[5] == (5, 10, 15)
    assert segdistill.inspect(path).classes == names


def test_files_without_batch_counters_load(tmp_path: Path) -> None:
    state = {key: value for key, value in oracle_state("pspnet_r18").items() if "num_batches" not in key}
    assert segdistill.inspect(written(tmp_path, {"state_dict": state})).faults == ()
    segdistill.load_checkpoint(create_model("pspnet_r18", 19), tmp_path / "file.pth")


def test_nvlabs_files_may_carry_their_idle_classifier(tmp_path: Path) -> None:
    network = create_model("segformer_b0_original", 19)
    state = as_layout(network, "nvlabs")  # type: ignore[arg-type]
    assert tuple(state["decode_head.linear_c1.proj.weight"].shape) == (256, 32)
    idle = {"decode_head.conv_seg.weight": torch.zeros(19, 128, 1, 1), "decode_head.conv_seg.bias": torch.zeros(19)}
    inspection = segdistill.inspect(written(tmp_path, {"state_dict": state | idle}))
    assert (inspection.layout, inspection.faults) == ("nvlabs", ())


def test_a_hugging_face_segformer_gives_its_own_outputs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.SegformerConfig(num_labels=7, id2label={i: f"class {i}!" for i in range(7)})
    theirs = transformers.SegformerForSemanticSegmentation(config).eval()
    theirs.save_pretrained(tmp_path / "hf")
    published = read_published(tmp_path / "hf")
    assert published.layout == "huggingface"
    ours = published.load().network
    assert ours.classes is not None
    assert ours.classes.names[3] == "class 3!"
    with torch.no_grad():
        want = theirs(pixel_values=ours.normalize(IMAGE)).logits
        torch.testing.assert_close(ours(IMAGE).logits, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "layout", "head", "prefix"),
    [
        ("resnet18_v1c", "openmmlab", "fcn", "backbone."),
        ("mobilenetv2_d8", "openmmlab", "fcn", "backbone."),
        ("hrnet_w18s", "openmmlab", "fcn", "backbone."),
        ("mit_b0", "nvlabs", {"name": "segformer", "normed": False}, "backbone."),
        ("mit_b0", "openmmlab", "segformer", "backbone."),
        ("resnet18_v1s", "cirkd", "pspnet", "pretrained."),
    ],
)
def test_a_published_backbone_file_fills_a_backbone(
    backbone: str, layout: str, head: Any, prefix: str, tmp_path: Path
) -> None:
    made_of = {"backbone": backbone, "head": head, "channels": 8, "auxiliary_channels": 0}
    network = build(resolve_spec(made_of), 3)
    assert isinstance(network, Segmenter)
    named = {key: value for key, value in as_layout(network, layout).items() if key.startswith(prefix)}
    bare = {key.removeprefix(prefix): value for key, value in named.items()}
    for state in (named, bare):
        path = written(tmp_path, {"state_dict": state | {"head.fc.weight": torch.zeros(1000, 8)}})
        other = create_backbone(backbone, weights=path).state_dict()
        assert all(torch.equal(other[key], value) for key, value in network.backbone.state_dict().items())
    with pytest.raises(CheckpointError, match="not those of backbone 'resnet34_v1c'"):
        create_backbone("resnet34_v1c", weights=path)
