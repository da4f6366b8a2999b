"""Multiply-adds by hand, against torch's own counter, and against the published tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from quick import cases
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from segdistill.evaluation.cost.cost import gflops, trace
from segdistill.evaluation.cost.macs import MacCounter
from segdistill.evaluation.cost.stages import Stages
from segdistill.evaluation.inference.inference import predict_classes
from segdistill.models.build import build, outline
from segdistill.models.heads import Head
from segdistill.models.layers import AdaptiveAveragePool, Resize
from segdistill.models.open import create_model
from segdistill.models.shapes import Shapes
from segdistill.models.zoo import resolve_spec

CPU, META = torch.device("cpu"), torch.device("meta")
PUBLISHED: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "fixtures" / "flops.json").read_text())


class _Runs(nn.Module):
    """A network that runs `part` on its input."""

    def __init__(self, part: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Any:
        return self.part(x)


def _count(part: Callable[[Tensor], Any], x: Tensor) -> dict[str, int]:
    """Kinds that are not zero."""
    network = _Runs(part).eval()
    with torch.no_grad(), Stages(network) as stages, MacCounter(stages) as counter:
        network(x)
    return {kind: macs for kind, macs in counter.by_kind().items() if macs}


def _self_attention(x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x, x, x)


@pytest.mark.parametrize(
    ("part", "shape", "expected"),
    [
        (nn.Conv2d(6, 8, 3, stride=2, padding=1), (2, 6, 9, 7), {"conv": 2 * 8 * 5 * 4 * 6 * 9}),
        (nn.Conv2d(6, 12, 3, groups=6), (1, 6, 5, 5), {"conv": 12 * 3 * 3 * 9}),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (1, 4, 3, 5), {"conv": 4 * 3 * 5 * 6 * 4}),
        (nn.Linear(5, 7), (2, 3, 5), {"matmul": 2 * 3 * 5 * 7}),
        (lambda x: x @ x.mT, (4, 3, 5), {"matmul": 4 * 3 * 5 * 3}),
        (lambda x: x @ x.mT, (2, 2, 3, 5), {"matmul": 4 * 3 * 5 * 3}),
        (lambda x: torch.baddbmm(x.new_ones(2, 3, 3), x, x.mT), (2, 3, 5), {"matmul": 2 * 3 * 5 * 3}),
        (_self_attention, (2, 3, 10, 4), {"matmul": 2 * 3 * 10 * 10 * 8}),
        (nn.BatchNorm2d(3), (2, 3, 4, 5), {"norm": 2 * 120}),
        (nn.LayerNorm(6), (2, 5, 6), {"norm": 5 * 60}),
        (nn.Upsample(size=(7, 9), mode="bilinear"), (1, 2, 3, 3), {"resize": 4 * 2 * 63}),
        (nn.Upsample(scale_factor=2), (1, 2, 3, 3), {"resize": 2 * 36}),
        (nn.AdaptiveAvgPool2d(1), (2, 3, 4, 5), {"pool": 120}),
        (nn.AdaptiveAvgPool2d(3), (2, 3, 7, 5), {"pool": 210}),
        (lambda x: x.mean((2, 3)), (2, 3, 4, 5), {"pool": 120}),
        (lambda x: x.mean(1), (2, 3, 4, 5), {}),
        (lambda x: x.mean(), (2, 3, 4, 5), {}),
        (AdaptiveAveragePool(1), (2, 3, 4, 5), {"pool": 120}),
        (AdaptiveAveragePool(3), (2, 3, 7, 5), {"pool": 210}),
        (lambda x: F.softmax(F.max_pool2d(F.gelu(x.relu() + 1), 2), 1), (1, 3, 4, 4), {}),
        (nn.Dropout(), (1, 3, 4, 4), {}),
        (lambda x: torch.cat([x, x * 2]).permute(1, 0, 2).flatten(), (2, 3, 4), {}),
    ],
)
def test_every_operation_counts_what_the_papers_count(
    part: Callable[[Tensor], Any], shape: tuple[int, ...], expected: dict[str, int]
) -> None:
    assert _count(part.eval() if isinstance(part, nn.Module) else part, torch.rand(shape)) == expected


def test_a_resize_part_counts_even_where_it_has_nothing_to_do() -> None:
    part, x = Resize(), torch.rand(1, 2, 4, 4)
    assert part(x, (4, 4)) is x
    assert _count(lambda x: part(x, (8, 4)), x) == {"resize": 4 * 64}
    network = nn.ModuleDict({"resize": part})
    with Stages(network) as stages, MacCounter(stages) as counter:
        part(x, (4, 4))
    assert counter.by_kind()["resize"] == 4 * 32


def test_the_counter_counts_only_while_it_is_entered() -> None:
    network = create_model("mobilenetv2_pspnet", 3).eval()
    with torch.no_grad(), Stages(network) as stages, MacCounter(stages) as counter:
        network(torch.rand(1, 3, 32, 32))
    before = counter.total()
    network(torch.rand(1, 3, 32, 32))
    assert counter.total() == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize(
    "name", cases(["mobilenetv2_035_fcn"], ["lite2_deeplabv3plus", "hrnet_w18s", "segformer_b0", "isanet_r18"])
)
def test_convolutions_and_matrix_products_are_those_of_torchs_counter(name: str) -> None:
    network = create_model(name, 5)
    with sdpa_kernel(SDPBackend.MATH):  # torch's counter does not know the fused attention of the CPU
        with FakeTensorMode(allow_non_fake_inputs=True), FlopCounterMode(display=False) as theirs:
            predict_classes(network, torch.zeros(1, 3, 64, 96, dtype=torch.uint8))
        if name in ("segformer_b0", "isanet_r18"):  # those with attention
            assert 2 * trace(network, (64, 96), CPU).macs.total("conv") == theirs.get_total_flops()
    assert 2 * trace(network, (64, 96), CPU).macs.total("conv") == theirs.get_total_flops()


@pytest.mark.parametrize(
    "head", cases(["pspnet"], ["deeplabv3plus", "isanet", "segformer", {"name": "fcn", "stage": "all"}]), ids=str
)
def test_counting_without_contents_equals_a_real_run(head: Any) -> None:
    network = build(resolve_spec({"backbone": "mobilenetv2_035", "head": head, "channels": 8}), 4)
    image = torch.randint(0, 256, (1, 3, 45, 61), dtype=torch.uint8)
    with Stages(network) as stages, MacCounter(stages) as real:
        predict_classes(network, image)
    traced = trace(network, (45, 61), CPU).macs
    assert traced.counts == real.counts
    assert gflops(network, image) == real.total() / 1e9
    assert trace(network.to("meta"), (45, 61), META).macs.by_kind() == real.by_kind()


def test_the_count_splits_by_stage() -> None:
    network = create_model("mobilenetv2_035_fcn", 7)
    macs = trace(network, (64, 64), CPU).macs
    assert macs.counts["classifier"] == {"conv": 4 * 4 * 32 * 7}
    assert macs.counts["head"] == {"conv": 4 * 4 * 9 * 112 * 32, "norm": 2 * 4 * 4 * 32}
    assert macs.counts["resize"] == {"resize": 4 * 64 * 64 * 7}
    assert macs.counts["backbone.conv_stem"] == {"conv": 32 * 32 * 16 * 27}
    assert sum(sum(kinds.values()) for kinds in macs.counts.values()) == macs.total()


def test_a_network_that_reads_values_is_run_for_real() -> None:
    class Looks(Head):
        def __init__(self) -> None:
            super().__init__()
            self.channels = 8

        def forward(self, features: tuple[Tensor, ...]) -> Tensor:
            return features[-1][:, :8] * (1 if features[-1].sum().item() > 0 else 2)

    network = create_model("mobilenetv2_035_fcn", 7, channels=8)
    network.head = Looks()
    assert trace(network, (64, 64), CPU).macs.counts["classifier"] == {"conv": 4 * 8 * 7 * 4}


@pytest.mark.parametrize(
    "row",
    PUBLISHED,
    ids=lambda row: f"{row['network']}-{row['options'].get('channels', '')}-{row['num_classes']}-{row['size']}",
)
def test_published_networks_cost_what_openmmlab_says(row: dict[str, Any]) -> None:
    """Exact integers of mmsegmentation's networks, counted by fvcore's rules."""
    network = outline(resolve_spec({"name": row["network"], **row["options"]}), row["num_classes"])
    with Shapes():
        macs = trace(network, tuple(int(side) for side in row["size"].split("x")), META).macs
    result = macs.by_kind()
    assert macs.total() == row["macs"]
    assert (result["norm"], result["pool"], result["resize"]) == (row["norm"], row["pool"], row["resize"])
    assert result["conv"] + result["matmul"] == row["conv"] + row["matmul"]
    if "segformer" not in row["network"]:  # OpenMMLab writes a MiT's linear layers as 1x1 convolutions
        assert result["conv"] == row["conv"]
    weights = {name: parameter.numel() for name, parameter in network.named_parameters()}
    assert sum(weights.values()) == row["parameters"]
    used = sum(count for name, count in weights.items() if not name.startswith("auxiliary"))
    assert used == row["parameters_without_auxiliary"]
