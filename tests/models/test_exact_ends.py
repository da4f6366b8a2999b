"""First layers and the last one in float32, the others rounded: what autocast does, layer by layer."""

from __future__ import annotations

import threading

import torch
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.models.build import build
from segdistill.models.exact_ends import ExactEnds, exact_ends
from segdistill.models.spec import NetworkSpec

PIXELS = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))


class Chain(nn.Module):
    """Four layers, called in another order than they are made in."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8, 2)
        self.first, self.second, self.third = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1)

    def forward(self, image: Tensor) -> SegOutput:
        maps = self.third(self.second(self.first(image)))
        logits = self.last(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return SegOutput(logits=logits, embedding=maps, features=())


def _rounded(network: nn.Module) -> Tensor:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output: SegOutput = network(PIXELS)
    return output.logits.float()


def test_half_of_the_layers_in_order_of_calls_are_exact_and_the_last() -> None:
    torch.manual_seed(0)
    chain = Chain()
    with torch.no_grad():
        maps = chain.second(chain.first(PIXELS))  # float32
        with torch.autocast("cpu", torch.bfloat16):
            maps = chain.third(maps)
        expected = chain.last(maps.float().permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    assert torch.equal(_rounded(ExactEnds(chain, PIXELS, 0.5)), expected)
    assert not torch.equal(_rounded(chain), expected)


def test_all_layers_give_what_float32_gives_and_the_network_stays() -> None:
    torch.manual_seed(0)
    network = build(NetworkSpec(backbone="test_efficientnet", head="pspnet", channels=8), 3).eval()
    exact, rounded = network(PIXELS).logits, _rounded(network)
    form = ExactEnds(network, PIXELS, 1.0)
    assert (exact - _rounded(form)).abs().max() <= 1e-2 * exact.abs().max()
    assert torch.equal(_rounded(network), rounded)
    assert all(ours is theirs for ours, theirs in zip(form.parameters(), network.parameters(), strict=True))
    assert str(form) != str(ExactEnds(network, PIXELS, 0.5))


def test_a_network_that_cannot_be_copied_has_no_such_form() -> None:
    chain = Chain()
    chain.lock = threading.Lock()  # type: ignore[assignment]
    assert exact_ends(chain, PIXELS, 0.5) is None
