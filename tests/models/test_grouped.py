"""Convolutions in groups in bfloat16 give what PyTorch's own give: maps, gradients, under any settings."""

import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from segdistill.core.precision import computes_in_bf16
from segdistill.models.grouped import replace_gradients

SETTINGS = [
    # kernel, stride, dilation, padding
    (3, 2, 1, 1),
    (5, 1, 1, 2),
    (5, 1, 1, "same"),
    (5, 2, 1, 2),
    (7, 1, 1, 3),
    (3, 1, 2, 2),
    (5, 1, 2, 4),
    (3, 1, 3, 0),
    (3, 1, 6, 6),
    (3, 2, 2, 2),
]


def gradients(conv: nn.Conv2d, image: torch.Tensor) -> list[torch.Tensor]:
    image = image.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        result = conv(image)
    weights = torch.linspace(-1, 1, result.numel()).view(result.shape)
    (result.float() * weights).sum().backward()
    return [result.detach(), image.grad, *(each.grad for each in conv.parameters())]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "dilation", "padding"), SETTINGS)
def test_maps_and_gradients_are_those_of_pytorch(kernel, stride, dilation, padding, channels_last):
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 4, kernel, stride, padding, dilation, groups=4)
    fast = copy.deepcopy(plain)
    replace_gradients(fast)
    assert type(fast) is not nn.Conv2d
    image = torch.randn(2, 4, 13, 18).to(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )
    for expected, actual in zip(gradients(plain, image), gradients(fast, image), strict=True):
        assert actual.dtype == expected.dtype
        torch.testing.assert_close(actual.float(), expected.float(), rtol=2e-2, atol=2e-2 * float(expected.abs().max()))


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 1), (5, 2, 1), (5, 1, 2)])
def test_padding_as_in_tensorflow(kernel, stride, dilation):
    torch.manual_seed(0)
    plain = Conv2dSame(4, 4, kernel, stride, dilation=dilation, groups=4)
    fast = copy.deepcopy(plain)
    replace_gradients(fast)
    image = torch.randn(2, 4, 13, 18)
    for expected, actual in zip(gradients(plain, image), gradients(fast, image), strict=True):
        torch.testing.assert_close(actual.float(), expected.float(), rtol=2e-2, atol=2e-2 * float(expected.abs().max()))


def test_the_gradients_are_closer_than_bfloat16_is_coarse():
    """Beside float32, the pieces lose no more than PyTorch's own gradient in bfloat16 does; than one rounding to it
    where a processor without bfloat16 takes PyTorch's through float32."""
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 8, 5, 1, 4, 2, groups=8, bias=False)
    fast, exact = copy.deepcopy(plain), copy.deepcopy(plain)
    replace_gradients(fast)
    image = torch.randn(2, 8, 20, 28).bfloat16().float()
    with torch.no_grad():
        for conv in (plain, fast, exact):
            conv.weight.copy_(conv.weight.bfloat16().float())
    image.requires_grad_()
    exact(image).sum().backward()

    def error(conv: nn.Conv2d) -> float:
        with torch.autocast("cpu", torch.bfloat16):
            result = conv(image)
        result.float().sum().backward()
        return float((conv.weight.grad - exact.weight.grad).norm() / exact.weight.grad.norm())

    bound = 1.5 * error(plain) + 1e-4 if computes_in_bf16(torch.device("cpu")) else 2**-8
    assert error(fast) <= bound


@pytest.mark.parametrize("padding", ["same", "valid", 12])
@pytest.mark.parametrize(("channels", "groups"), [(16, 16), (16, 4)])
@pytest.mark.parametrize(("kernel", "dilation"), [((3, 3), 6), ((3, 3), 2), ((1, 3), 6), ((5, 5), 6), ((2, 2), 7)])
def test_gradients_of_wide_maps_are_those_of_float32(kernel, dilation, channels, groups, padding):
    """Where oneDNN's gradient in bfloat16 reads memory that nothing was written to."""
    torch.manual_seed(0)
    exact = nn.Conv2d(channels, channels, kernel, 1, padding, dilation, groups=groups)
    grouped = copy.deepcopy(exact)
    replace_gradients(grouped)
    assert type(grouped) is not nn.Conv2d
    image = torch.randn(2, channels, 33, 60).to(memory_format=torch.channels_last).requires_grad_()
    exact(image).square().mean().backward()
    expected, image.grad = image.grad, None
    with torch.autocast("cpu", torch.bfloat16):
        result = grouped(image)
    result.float().square().mean().backward()
    for actual, wanted in ((image.grad, expected), (grouped.weight.grad, exact.weight.grad)):
        torch.testing.assert_close(actual, wanted, rtol=3e-2, atol=2e-2 * float(wanted.abs().max()))


def test_in_float32_nothing_changes_to_the_bit():
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 4, 5, 2, 2, groups=4)
    fast = copy.deepcopy(plain)
    replace_gradients(fast)
    image = torch.randn(2, 4, 13, 18)
    plain(image).sum().backward()
    fast(image).sum().backward()
    assert torch.equal(plain(image), fast(image))
    assert torch.equal(plain.weight.grad, fast.weight.grad)


def test_what_has_right_and_fast_gradients_stays():
    network = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(4, 4, 5, groups=2),
        nn.Conv2d(4, 8, 5, groups=4),
        nn.Conv2d(4, 4, 5, dilation=2),
    )
    replace_gradients(network)
    assert all(type(each) is nn.Conv2d for each in network)
