"""Depthwise convolutions whose gradients are fast in bfloat16 on processors.

oneDNN has fast kernels in bfloat16 for the gradients of 3x3 kernels with stride 1 that are not dilated. Other gradients
of depthwise convolutions take 3 to 8 times as long, and half of a training step. Here they are made of the fast ones:

    dilation 2, a row of pixels       abcdefgh  ->  aceg, bdfh: two images, each convolved without dilation
    a 5x5 kernel's gradient, one row  12345     ->  123 and 345: the input shifted by 0 and by 2
    gradient of the input, stride 2             ->  in float32, which has a fast kernel

Otherwise (float32, no gradients, other devices, while a graph is exported) these are ordinary convolutions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn

_SIDE = 3
"""Of the kernels whose gradients are fast."""

_MOST_IMAGES = 4
"""A side that dilation is taken apart into; more would be images of few pixels."""


def speed_up_depthwise(network: nn.Module) -> None:
    """Let the depthwise convolutions of a network compute their gradients as this file says.

    Args:
        network: Its modules change class; names, parameters and results stay.
    """
    for module in network.modules():
        if type(module) in (nn.Conv2d, Conv2dSame) and _is_slow(module):
            module.__class__ = DepthwiseConv2dSame if isinstance(module, Conv2dSame) else DepthwiseConv2d


def _is_slow(conv: nn.Module) -> bool:
    """Whether it is depthwise with a gradient that has no fast kernel."""
    assert isinstance(conv, nn.Conv2d)
    depthwise = conv.groups == conv.in_channels == conv.out_channels and conv.padding_mode == "zeros"
    square = conv.kernel_size[0] == conv.kernel_size[1] >= _SIDE and not isinstance(conv.padding, str)
    return depthwise and square and (conv.kernel_size[0] > _SIDE or max(conv.stride) > 1 or max(conv.dilation) > 1)


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` of one channel a group."""

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of `nn.Conv2d`.

        Args:
            x: (N,C,H,W).

        Returns:
            (N,C,H',W').
        """
        return depthwise_conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)  # type: ignore[arg-type]


class DepthwiseConv2dSame(Conv2dSame):  # type: ignore[misc]
    """timm's convolution with TensorFlow's padding, of one channel a group."""

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of timm's `Conv2dSame`.

        Args:
            x: (N,C,H,W), which is padded here; odd pixels go below and to the right.

        Returns:
            (N,C,ceil(H/stride),ceil(W/stride)).
        """
        x = pad_same(x, list(self.kernel_size), list(self.stride), list(self.dilation))
        return depthwise_conv2d(x, self.weight, self.bias, self.stride, (0, 0), self.dilation)


def depthwise_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """What `F.conv2d` with a group for each channel gives, with gradients made of fast kernels.

    Args:
        x: (N,C,H,W).
        weight: (C,1,k,k).
        bias: (C,) or None.
        stride: Of the kernel.
        padding: Zeros on each side.
        dilation: Of the kernel.

    Returns:
        (N,C,H',W').
    """
    autocast = torch.is_autocast_enabled(x.device.type)
    dtype = torch.get_autocast_dtype(x.device.type) if autocast else x.dtype
    fast = x.device.type == "cpu" and dtype == torch.bfloat16 and torch.is_grad_enabled()
    if fast and 1 < dilation[0] == dilation[1] <= _MOST_IMAGES and stride == (1, 1):
        y = _dilated(x.to(dtype), weight.to(dtype), padding, dilation[0])
    elif fast and dilation == (1, 1):
        y = _convolve(x.to(dtype), weight.to(dtype), stride, padding)
    else:
        return F.conv2d(x, weight, bias, stride, padding, dilation, len(weight))
    return y if bias is None else y + bias.to(dtype)[:, None, None]


def _dilated(x: Tensor, weight: Tensor, padding: tuple[int, int], d: int) -> Tensor:
    """A dilated convolution as an ordinary one of d*d images, each of every d-th row and column.

    With d = 2, `abcd / efgh / ijkl / mnop` becomes `ac/ik`, `bd/jl`, `eg/mo`, `fh/np`.
    """
    n, c, height, width = x.shape
    (up, left), span = padding, d * (weight.shape[-1] - 1)
    rows, columns = height + 2 * up - span, width + 2 * left - span  # of the result
    x = F.pad(x, (left, left + -(width + 2 * left) % d, up, up + -(height + 2 * up) % d))
    h, w = x.shape[2] // d, x.shape[3] // d
    # Channels stay innermost, so that each copy moves whole pixels.
    parts = x.permute(0, 2, 3, 1).reshape(n, h, d, w, d, c).permute(0, 2, 4, 1, 3, 5).reshape(n * d * d, h, w, c)
    y = _convolve(parts.permute(0, 3, 1, 2), weight, (1, 1), (0, 0)).permute(0, 2, 3, 1)
    h, w = y.shape[1:3]
    whole = y.reshape(n, d, d, h, w, c).permute(0, 3, 1, 4, 2, 5).reshape(n, h * d, w * d, c)
    return whole[:, :rows, :columns].permute(0, 3, 1, 2)


def _convolve(x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """A depthwise convolution without dilation."""
    result: Tensor = _Depthwise.apply(x, weight, stride, padding)
    return result


class _Depthwise(torch.autograd.Function):
    """`_convolve` with the gradients of this file."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        """`F.conv2d`."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the input and the kernel."""
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        x_gradient = weight_gradient = None
        if ctx.needs_input_grad[0]:
            wide = torch.float32 if max(ctx.stride) > 1 else torch.bfloat16
            shape_of_x = torch.empty_like(x, dtype=wide)  # of x only the shape is read
            wide_gradient = _gradients(
                gradient.to(wide), shape_of_x, weight.to(wide), ctx.stride, ctx.padding, of_input=True
            )
            x_gradient = wide_gradient.to(x.dtype)
        if ctx.needs_input_grad[1]:
            weight_gradient = _weight_gradient(gradient, x, weight, ctx.stride, ctx.padding)
        return x_gradient, weight_gradient, None, None


def _weight_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """That of a kernel of any side, in squares of 3x3 weights: of a 7x7 kernel those that begin at 0, 3 and 4."""
    side = weight.shape[-1]
    if side == _SIDE:
        return _gradients(gradient, x, weight, stride, padding, of_input=False)
    x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    height, width = ((size - 1) * step + _SIDE for size, step in zip(gradient.shape[2:], stride, strict=True))
    starts = sorted({*range(0, side - _SIDE, _SIDE), side - _SIDE})
    result = torch.empty_like(weight)
    small = weight[:, :, :_SIDE, :_SIDE].contiguous()
    for top in starts:
        for left in starts:
            part = x[:, :, top : top + height, left : left + width].contiguous(memory_format=torch.channels_last)
            square = _gradients(gradient, part, small, stride, (0, 0), of_input=False)
            result[:, :, top : top + _SIDE, left : left + _SIDE] = square
    return result


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int], *, of_input: bool
) -> Tensor:
    """PyTorch's own gradient of the input or the kernel."""
    wanted = [of_input, not of_input, False]
    both: list[Tensor] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), wanted
    )
    return both[0] if of_input else both[1]
