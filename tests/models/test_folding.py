"""Networks with their batch norms folded are the same networks, and those that would not be are left alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.models.build import build
from segdistill.models.folding import folded
from segdistill.models.network import SegmentationNetwork
from segdistill.models.spec import NetworkSpec
from segdistill.models.zoo import resolve_spec

NAMES = ("mobilenetv2_deeplabv3plus", "pspnet_r18", "pidnet_s", "lite2_deeplabv3plus")


def trained(network: nn.Module) -> nn.Module:
    """The network as after some training: statistics and scales of its norms are not 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            for values, low in ((module.running_mean, -0.2), (module.running_var, 0.8), (module.weight, 0.8)):
                values.data.copy_(low + 0.4 * torch.rand(values.shape, generator=generator))
    return network.eval()


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_every_map_is_the_same(name: str, image: Tensor) -> None:
    spec = resolve_spec({"name": name}, "student")
    assert isinstance(spec, NetworkSpec)
    network = trained(build(spec, 5)).double()
    before = copy.deepcopy(network.state_dict())
    form = folded(network, image.double())
    assert form is not None
    with torch.no_grad():
        plain, fast = network(image.double()), form(image.double())
    for one, two in zip((plain.logits, plain.embedding, *plain.features), (fast.logits, fast.embedding, *fast.features),
                        strict=True):  # fmt: skip
        torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-9 * float(one.abs().max()))
    norms = [sum(isinstance(module, nn.BatchNorm2d) for module in each.modules()) for each in (network, form)]
    assert norms[1] < norms[0] / 2
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


class Tapped(SegmentationNetwork):
    """One whose embedding is what its convolution returns, or what its norm does; `shared`: the norm runs twice."""

    def __init__(self, at: str, *, shared: bool = False) -> None:
        super().__init__(num_classes=2, mean=(0.0,) * 3, std=(1.0,) * 3)
        self.at, self.shared = at, shared
        self.conv, self.norm, self.classifier = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)

    def forward(self, image: Tensor) -> SegOutput:
        x = self.conv(image)
        y = self.norm(self.norm(x)) if self.shared else self.norm(x)
        return SegOutput(logits=self.classifier(y), embedding=x if self.at == "conv" else y, features=())


def test_a_tap_behind_the_norm_sees_the_same_and_one_before_it_keeps_the_network_as_it_is(image: Tensor) -> None:
    form = folded(trained(Tapped("norm")), image)
    assert form is not None
    assert isinstance(form.get_submodule("norm"), nn.Identity)
    assert folded(trained(Tapped("conv")), image) is None
    assert folded(trained(Tapped("norm", shared=True)), image) is None
