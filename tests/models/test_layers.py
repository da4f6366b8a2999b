"""The building blocks of the heads against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.models.layers import BatchNorm, adaptive_average_pool

SIZES = [(1, 1), (1, 7), (2, 3), (5, 5), (6, 6), (7, 11), (13, 9), (33, 17), (64, 128), (97, 101)]
TARGETS = [(1, 1), (2, 2), (3, 3), (6, 6), (3, 5), (8, 1)]


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_adaptive_average_pool_equals_torch(size: tuple[int, int], target: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(sum(size)))
    torch.testing.assert_close(adaptive_average_pool(x, target), F.adaptive_avg_pool2d(x, target), rtol=0, atol=1e-6)


def test_adaptive_average_pool_has_the_gradient_of_torch() -> None:
    x = torch.randn(1, 2, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    upstream = torch.randn(1, 2, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (got,) = torch.autograd.grad(adaptive_average_pool(x, (3, 6)), x, upstream)
    (want,) = torch.autograd.grad(F.adaptive_avg_pool2d(x, (3, 6)), x, upstream)
    torch.testing.assert_close(got, want)


class _Pyramid(nn.Module):
    """Adaptive pooling to two sizes between two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.convolution(image)
        return self.last(adaptive_average_pool(x, (3, 3))), self.last(adaptive_average_pool(x, (6, 6)))


def test_adaptive_average_pool_exports_with_sizes_left_open() -> None:
    torch.manual_seed(0)
    model = _Pyramid().eval()
    sizes = {2: torch.export.Dim("height", min=4, max=4096), 3: torch.export.Dim("width", min=4, max=4096)}
    exported = torch.export.export(model, (torch.rand(1, 3, 32, 48),), dynamic_shapes=(sizes,)).module()
    for size in ((32, 48), (65, 97), (200, 33), (8, 5)):
        image = torch.rand(1, 3, *size)
        torch.testing.assert_close(exported(image), model(image))


def _trained(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """`norm` with scale, shift and running statistics that are not those of a new one."""
    torch.manual_seed(1)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    for _ in range(3):
        norm(2 + 3 * torch.randn(4, norm.num_features, 5, 5))
    return norm


def test_batch_norm_survives_one_value_a_channel_while_training() -> None:
    norm = _trained(BatchNorm(6))
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    x = torch.randn(1, 6, 1, 1, requires_grad=True)
    y = norm(x)
    torch.testing.assert_close(y, norm.eval()(x), msg="one value a channel is normalised as at evaluation")
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.ne(0).all()
    assert norm.weight.grad is not None
    assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())


@pytest.mark.parametrize("shape", [(2, 6, 1, 1), (1, 6, 1, 2), (3, 6, 4, 5)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_torchs_wherever_that_works(shape: tuple[int, ...], training: bool) -> None:
    ours, theirs = _trained(BatchNorm(6)).train(training), _trained(nn.BatchNorm2d(6)).train(training)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    assert torch.equal(ours(x), theirs(x))
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in ours.state_dict().items())
