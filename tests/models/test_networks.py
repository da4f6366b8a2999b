"""What every network promises: one suite over all heads of `segdistill.models.heads`."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from segdistill.core.discovery import classes_in, options_of
from segdistill.core.errors import RecipeError
from segdistill.core.outputs import SegOutput
from segdistill.models.build import build, probe
from segdistill.models.heads import Head
from segdistill.models.open import create_model
from segdistill.models.segmenter import Segmenter
from segdistill.models.zoo import resolve_spec

BACKBONE = "mobilenetv2_035"
HEADS = classes_in("segdistill.models.heads", Head)
CLASSES = 7

every_head = pytest.mark.parametrize("head", HEADS)


def _network(head: str, /, *, seed: int = 0, **options: Any) -> Segmenter:
    torch.manual_seed(seed)
    spec = {"backbone": BACKBONE, "head": head, "channels": 16, "output_stride": 16, "auxiliary_channels": 8}
    return build(resolve_spec(spec | options), CLASSES)


def _image(*size: int, n: int = 1) -> Tensor:
    return torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(5))


def _check_output(network: Segmenter, image: Tensor, stride: int) -> SegOutput:
    """The contract of `SegOutput` at evaluation."""
    with torch.no_grad():
        output: SegOutput = network.eval()(image)
        again = network.classifier(output.embedding)
    n, _, height, width = image.shape
    strides = network.backbone.feature_info.reduction()
    assert strides[-1] == stride
    assert output.logits.shape == (n, network.num_classes, *output.embedding.shape[-2:])
    assert output.logits.isfinite().all()
    assert torch.equal(again, output.logits), "the embedding is what the classifier reads"
    assert output.auxiliary is None
    assert strides == sorted(strides), "finest first"
    sizes = [tuple(feature.shape[-2:]) for feature in output.features]
    assert sizes == [(-(-height // reduction), -(-width // reduction)) for reduction in strides]
    return output


@every_head
@pytest.mark.parametrize("size", [(64, 64), (33, 47), (17, 200), (8, 8), (1, 1)], ids=str)
def test_any_size_of_image(head: str, size: tuple[int, int]) -> None:
    _check_output(_network(head), _image(*size, n=2), stride=16)


@every_head
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_the_output_stride_is_honoured(head: str, stride: int) -> None:
    _check_output(_network(head, output_stride=stride), _image(65, 96), stride)


@every_head
@pytest.mark.parametrize("size", [(64, 64), (33, 47)], ids=str)
def test_a_batch_of_one_trains(head: str, size: tuple[int, int]) -> None:
    output = _network(head).train()(_image(*size))
    assert output.auxiliary is not None
    (output.logits.square().mean() + output.auxiliary.square().mean()).backward()
    assert output.logits.isfinite().all()


@every_head
def test_the_auxiliary_head_speaks_only_while_training(head: str) -> None:
    network = _network(head)
    trained = network.train()(_image(64, 96, n=2))
    assert trained.auxiliary is not None
    assert trained.auxiliary.shape == (2, CLASSES, *trained.features[-2].shape[-2:])
    assert network.eval()(_image(64, 96)).auxiliary is None
    assert _network(head, auxiliary_channels=0).train()(_image(64, 96)).auxiliary is None


@every_head
def test_the_gradient_reaches_every_parameter(head: str) -> None:
    network = _network(head, dropout=0.0).train()
    output = network(_image(160, 192, n=4))  # ISANet needs more than one block to attend over
    assert output.auxiliary is not None
    (output.logits.square().mean() + output.auxiliary.square().mean()).backward()
    unreached = [
        name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert not unreached
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@every_head
def test_the_width_and_the_options_of_the_head_are_used(head: str) -> None:
    assert probe(_network(head, channels=24)).embedding.shape[1] == 24
    assert probe(_network(head, channels=None)).embedding.shape[1] == options_of(HEADS[head])().channels
    assert probe(_network(head, channels=None, head={"name": head, "channels": 12})).embedding.shape[1] == 12


@every_head
def test_normalisation_belongs_to_the_network(head: str) -> None:
    mean, std = (0.1, 0.5, 0.7), (0.2, 0.3, 0.9)
    inside = _network(head, mean=mean, std=std).eval()
    outside = _network(head, mean=(0, 0, 0), std=(1, 1, 1)).eval()
    image = _image(64, 64)
    normal = (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    assert torch.equal(inside(image).logits, outside(normal).logits)
    assert not torch.equal(outside(image).logits, outside(normal).logits)


@pytest.mark.parametrize("backbone", [BACKBONE, "tf_efficientnet_lite0"])
def test_the_normalisation_is_the_backbones_by_default(backbone: str) -> None:
    config = timm.get_pretrained_cfg(backbone).to_dict()
    network = _network("fcn", backbone=backbone)
    torch.testing.assert_close(network.mean.flatten(), torch.tensor(config["mean"]))
    torch.testing.assert_close(network.std.flatten(), torch.tensor(config["std"]))


@every_head
def test_a_seed_gives_the_same_weights(head: str) -> None:
    first, again, other = (_network(head, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    for part in ("backbone.conv_stem", "head", "classifier", "auxiliary", "auxiliary_classifier"):
        weights = [key for key in first if key.startswith(f"{part}.") and first[key].dim() == 4]
        assert weights
        assert not any(torch.equal(first[key], other[key]) for key in weights)


@every_head
def test_images_of_a_batch_do_not_see_each_other(head: str) -> None:
    network = _network(head).eval()
    images = _image(33, 47, n=2)
    together = network(images).logits
    torch.testing.assert_close(together[1:], network(images[1:]).logits, rtol=1e-4, atol=5e-6)


def test_a_probe_leaves_the_network_as_it_was() -> None:
    network = _network("pspnet").train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert probe(network, (32, 48)).features[0].shape[-2:] == (16, 24)
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "mobilenetv2_pspnt"}, "'mobilenetv2_pspnt'. Did you mean 'mobilenetv2_pspnet'?"),
        ({"backbone": "mobilenet2_035"}, "'mobilenet2_035'. Did you mean 'mobilenetv2_035'?"),
        ({"head": "psp_net"}, "'psp_net'. Did you mean 'pspnet'?"),
        (
            {"head": "something else"},
            "Known: deeplabv3, deeplabv3plus, fcn, isanet, lraspp, preactivated, pspnet, segformer, upernet",
        ),
        ({"chanels": 3}, "'network.chanels'. Did you mean 'channels'?"),
        ({"head": {"name": "pspnet", "scale": [1, 2]}}, "'head.scale'. Did you mean 'scales'?"),
        ({"head": {"name": "pspnet", "scales": "many"}}, "'head.scales'"),
        ({"channels": "wide"}, "'network.channels'"),
        ({"channels": 0}, "'network.channels'"),
        ({"dropout": 1.0}, "'network.dropout'"),
        ({"mean": [0.5, 0.5]}, "Key 'mean' has 2 value(s), and the network sees 3 channel(s)"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named_with_what_would_be_right(options: dict[str, Any], message: str) -> None:
    given = options if "name" in options else {"backbone": BACKBONE, "head": "fcn"} | options
    with pytest.raises(RecipeError) as error:
        build(resolve_spec(given), CLASSES)
    assert message in str(error.value)


def test_a_network_needs_a_name_or_a_backbone() -> None:
    with pytest.raises(RecipeError, match=r"needs a name .*mobilenetv2_pspnet.* or a backbone"):
        resolve_spec({"head": "fcn"})


def test_create_model_knows_the_zoo_and_its_options() -> None:
    network = create_model("mobilenetv2_035_fcn", 3, channels=12)
    assert probe(network).embedding.shape[1] == 12
    with pytest.raises(RecipeError, match=r"Did you mean 'mobilenetv2_035_fcn'\?"):
        create_model("mobilenetv2_035_fnc", 3)
    with pytest.raises(RecipeError, match=r"Did you mean 'channels'\?"):
        create_model("mobilenetv2_035_fcn", 3, channel=12)


def test_an_unknown_backbone_like_no_other_gets_a_message_one_can_read() -> None:
    with pytest.raises(RecipeError) as error:
        build(resolve_spec({"backbone": "qqqqqqqq", "head": "fcn"}), CLASSES)
    assert "'qqqqqqqq'" in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("backbone", [BACKBONE, "test_resnet"])
@pytest.mark.parametrize("stride", [0, 5, 64])
def test_an_output_stride_the_backbone_can_not_do_is_refused(backbone: str, stride: int) -> None:
    """Not given another stride in silence: the recipe and the published table row would then lie."""
    with pytest.raises(RecipeError, match=rf"output.stride.*{stride}"):
        _network("fcn", backbone=backbone, output_stride=stride)


def test_a_stage_the_backbone_has_not_is_refused() -> None:
    with pytest.raises(RecipeError, match="stage"):
        _network("fcn", head={"name": "fcn", "stage": 9})
