"""Attention, known batch norm and the distance of unit maps are their formulas, with void left out one by one."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.methods.attnfd import _unit_gap
from segdistill.methods.parts.attention import Attention
from segdistill.methods.parts.projection import KnownBatchNorm


@pytest.fixture
def maps() -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randn(4, 5, 6, 7, generator=random, dtype=torch.float64).requires_grad_()


@pytest.fixture(params=["all", "some"])
def valid(request: pytest.FixtureRequest) -> Tensor:
    """some: of image 2 a single position, of 3 none."""
    keep = torch.rand(4, 1, 6, 7, generator=torch.Generator().manual_seed(1)) > 0.3
    keep[2:] = False
    keep[2, 0, 3, 3] = True
    return keep if request.param == "some" else torch.ones_like(keep)


def _same_with_gradients(result: Tensor, wanted: Tensor, inputs: Iterable[Tensor]) -> None:
    torch.testing.assert_close(result, wanted)
    upstream = torch.randn(result.shape, generator=torch.Generator().manual_seed(2), dtype=result.dtype)
    of_found, of_wanted = (
        torch.autograd.grad(each, [*inputs], upstream, retain_graph=True) for each in (result, wanted)
    )
    for one, other in zip(of_found, of_wanted, strict=True):
        torch.testing.assert_close(one, other)


def _plain_attention(module: Attention, maps: Tensor, valid: Tensor) -> Tensor:
    refined = []
    for x, keep in zip(maps, valid[:, 0], strict=True):
        if not keep.any():
            refined.append(torch.zeros_like(x))
            continue
        by_channel = module.channel(x[:, keep].mean(1)) + module.channel(x[:, keep].max(1).values)
        weighed = torch.where(keep, x, 0.0) * torch.sigmoid(by_channel)[:, None, None]
        by_position = module.position(torch.stack([weighed.mean(0), weighed.max(0).values])[None])[0]
        refined.append(weighed * torch.sigmoid(by_position))
    return torch.stack(refined)


def test_attention_is_its_formula(maps: Tensor, valid: Tensor) -> None:
    torch.manual_seed(0)
    module = Attention(5).double()
    inputs = (maps, *module.parameters())
    _same_with_gradients(module(maps, valid), _plain_attention(module, maps, valid), inputs)


def test_attention_of_a_map_without_gradient_still_learns(maps: Tensor, valid: Tensor) -> None:
    module = Attention(5).double()
    module(maps.detach(), valid).square().sum().backward()
    alone = [parameter.grad for parameter in module.parameters()]
    module.zero_grad()
    module(maps, valid).square().sum().backward()
    torch.testing.assert_close([parameter.grad for parameter in module.parameters()], alone)


def test_known_batch_norm_is_batch_norm_of_what_is_known(maps: Tensor, valid: Tensor) -> None:
    norm, plain = KnownBatchNorm(5).double(), nn.BatchNorm1d(5).double()
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-1, 2, 5))
        norm.bias.copy_(torch.linspace(1, 3, 5))
    plain.load_state_dict(norm.state_dict())
    for _ in range(2):
        result = norm(maps, valid)
    for _ in range(2):
        normalized = F.batch_norm(
            maps.movedim(1, -1)[valid[:, 0]], plain.running_mean, plain.running_var, norm.weight, norm.bias, True
        )
    for name in ("running_mean", "running_var"):  # in float64, not by way of float32
        torch.testing.assert_close(getattr(norm, name), getattr(plain, name), rtol=1e-13, atol=1e-15)
    wanted = torch.zeros_like(maps).movedim(1, -1).masked_scatter(valid.movedim(1, -1), normalized).movedim(-1, 1)
    _same_with_gradients(result, wanted, (maps, norm.weight, norm.bias))
    norm.eval()
    assert torch.equal(norm(maps, valid), nn.BatchNorm2d.forward(norm, maps) * valid)


@pytest.mark.parametrize("dims", [(1, 2, 3), (0, 1, 2, 3)])
def test_unit_gap_is_the_distance_of_unit_vectors(maps: Tensor, dims: tuple[int, ...]) -> None:
    other = maps.detach().flip(0).requires_grad_()
    units = [each / each.square().sum(dims, keepdim=True).sqrt() for each in (maps, other)]
    _same_with_gradients(_unit_gap(maps, other, dims), (units[0] - units[1]).square().sum(dims), (maps, other))
