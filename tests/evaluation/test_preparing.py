"""Networks that many images go through: the same classes, whichever form computes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.data.datasets.streets import Streets
from segdistill.evaluation.inference import preparing
from segdistill.evaluation.inference.preparing import Rounded, prepared
from segdistill.evaluation.scoring import count
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.build import build
from segdistill.models.exact_ends import ExactEnds
from segdistill.models.spec import NetworkSpec

IMAGE = torch.randint(256, (1, 3, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Near(nn.Module):
    """Four layers: the first says 1 and 1 + `gap`, the others hand it on; bf16 tells no two numbers below 1/128 apart.

    With a `factor` the second one says 0.5 and the difference times that.
    """

    def __init__(self, gap: float, factor: float = 0.0) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(nn.Conv2d(3 if number == 0 else 2, 2, 1) for number in range(4)))
        with torch.no_grad():
            for conv in self.convs:
                conv.weight.copy_(torch.eye(2, conv.in_channels)[..., None, None])
                conv.bias.zero_()
            self.convs[0].weight.zero_()
            self.convs[0].bias.copy_(torch.tensor([1.0, 1.0 + gap]))
            if factor:
                self.convs[1].weight.copy_(torch.tensor([[0.0, 0.0], [-factor, factor]])[..., None, None])
                self.convs[1].bias.copy_(torch.tensor([0.5, 0.0]))

    def forward(self, image: Tensor) -> SegOutput:
        logits = self.convs(image)
        return SegOutput(logits=logits, embedding=logits, features=())


@pytest.fixture(autouse=True)
def _a_machine_that_computes_in_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "computes_in_bf16", lambda device: True)
    monkeypatch.setattr(preparing, "bf16_gain", lambda network, pixels, trains: 2.0)


@pytest.mark.parametrize(("gap", "precision"), [(0.5, "bf16"), (0.001, None)])
def test_bf16_is_taken_where_the_classes_stay(gap: float, precision: str | None) -> None:
    assert getattr(prepared(Near(gap), IMAGE, InferenceConfig()), "precision", None) == precision


def test_as_few_first_layers_as_the_classes_need_stay_exact() -> None:
    network = Near(0.001, factor=1000)
    form = prepared(network, IMAGE, InferenceConfig())
    assert isinstance(form, Rounded)
    assert isinstance(form.network, ExactEnds)
    assert form.network.share == 0.5
    pixels = IMAGE / 255
    assert torch.equal(form(pixels).logits.argmax(1), network(pixels).logits.argmax(1))


def test_a_precision_that_is_named_is_taken() -> None:
    network = Near(0.001)
    assert prepared(network, IMAGE, InferenceConfig(precision="fp32")) is network
    form = prepared(network, IMAGE, InferenceConfig(precision="bf16"))
    assert isinstance(form, Rounded)
    logits = form(IMAGE.float()).logits
    assert logits.dtype == torch.float32
    assert torch.equal(logits, logits.bfloat16().float())


def test_many_images_are_scored_as_one_by_one() -> None:
    data = Streets(split="val", count=20, size=(32, 48))
    torch.manual_seed(0)
    network = build(NetworkSpec(backbone="test_efficientnet", head="pspnet", channels=8), len(data.classes)).eval()
    inference = InferenceConfig(precision="fp32")
    many = count(network, data, inference=inference).confusion.counts
    one_by_one = count(network, data, inference=inference, loader=(data[index] for index in range(20))).confusion.counts
    assert many.sum() == one_by_one.sum()
    assert (many - one_by_one).abs().sum() <= 1e-3 * many.sum()  # but for ties
