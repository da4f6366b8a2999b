"""A teacher wraps a network: the image at its scale, its scores in the student's classes."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from segdistill.evaluation.cost.cost import gflops, parameters
from segdistill.models.class_map import ClassMap
from segdistill.models.ensemble import Ensemble
from segdistill.models.network import SegmentationNetwork
from segdistill.models.open import create_model
from segdistill.models.teacher import Precision, Teacher

CLASSES = ClassMap(("a", "b", "c", "d"), ("x", "y"), (1, 0, None, 1))
IMAGE = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    options = {"mean": (0.1, 0.5, 0.9), "std": (0.2, 0.3, 0.4), "bgr": True}
    return create_model("mobilenetv2_035_fcn", 4, channels=8, auxiliary_channels=8, **options).eval()


@torch.no_grad()
def test_alone_it_changes_nothing(network: SegmentationNetwork) -> None:
    plain, output = network(IMAGE), Teacher(network)(IMAGE)
    assert torch.equal(plain.logits, output.logits)
    assert torch.equal(plain.embedding, output.embedding)


@torch.no_grad()
@pytest.mark.parametrize(("scale", "size"), [(0.5, (32, 48)), (1.5, (96, 144)), (0.3, (19, 29))])
def test_the_network_sees_the_image_at_its_scale(
    network: SegmentationNetwork, scale: float, size: tuple[int, int]
) -> None:
    seen = F.interpolate(IMAGE, size, mode="bilinear", align_corners=False, antialias=True)
    plain, output = network(seen), Teacher(network, input_scale=scale).eval()(IMAGE)
    torch.testing.assert_close(output.logits, plain.logits, rtol=1e-3, atol=1e-5)
    assert [maps.shape for maps in output.features] == [maps.shape for maps in plain.features]


@torch.no_grad()
def test_scores_are_mapped_and_maps_are_not(network: SegmentationNetwork) -> None:
    plain, output = network(IMAGE), Teacher(network, class_map=CLASSES)(IMAGE)
    assert torch.equal(output.logits, CLASSES(plain.logits))
    assert torch.equal(output.embedding, plain.embedding)
    assert Teacher(network, class_map=CLASSES).num_classes == 2


@torch.no_grad()
@pytest.mark.parametrize(("precision", "error"), [("fp32", 0.0), ("bf16", 0.1), ("fp16", 0.02)])
def test_it_computes_in_its_own_precision(network: SegmentationNetwork, precision: Precision, error: float) -> None:
    plain = network(IMAGE)
    teacher = Teacher(copy.deepcopy(network), precision=precision).eval()
    alone = teacher(IMAGE)
    with torch.autocast("cpu", torch.bfloat16):
        within = teacher(IMAGE)
    assert torch.equal(alone.logits, within.logits)
    assert alone.logits.dtype == torch.float32
    assert (alone.logits - plain.logits).abs().max() <= error * plain.logits.abs().max()
    size, whole = (sum(each.nbytes for each in net.parameters()) for net in (teacher, network))
    assert size < (0.6 if error else 1.01) * whole
    assert torch.equal(teacher.mean, network.mean)  # images are normalised in full precision


def test_auxiliary_scores_are_mapped_too(network: SegmentationNetwork) -> None:
    output = Teacher(network, class_map=CLASSES).train()(IMAGE)
    network.eval()
    assert output.auxiliary is not None
    assert output.auxiliary.shape[1] == 2


def test_its_cost_is_that_of_the_scaled_image_and_of_the_network_without_auxiliary(
    network: SegmentationNetwork,
) -> None:
    image = torch.zeros(1, 3, 64, 96, dtype=torch.uint8)
    half = Teacher(network, input_scale=0.5)
    assert gflops(half, image) == pytest.approx(gflops(network, image) / 4, rel=0.1)
    assert parameters(half) == parameters(network)


def test_a_mean_of_networks_is_as_large_as_they_are_without_auxiliary_heads() -> None:
    networks = [create_model("bisenetv2", 4), create_model("pspnet_r18", 4)]
    assert all(parameters(each) < sum(value.numel() for value in each.parameters()) for each in networks)
    assert parameters(Ensemble(networks)) == sum(map(parameters, networks))
