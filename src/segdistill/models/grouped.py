"""Convolutions in groups whose gradients are right, and fast, in bfloat16 on processors.

Right: where a convolution in groups is dilated and channels lie last, oneDNN's gradient of the kernel in bfloat16 reads
memory that nothing was written to, on some processors and from some 30 columns on (torch 2.14.1 on an AMD EPYC; no
groups, other layouts and float32 are right). Here it is computed in float32.

Fast: oneDNN has fast kernels in bfloat16 for the gradients of 3x3 kernels with stride 1 that are not dilated. Others of
depthwise convolutions take 3 to 8 times as long, and half of a training step. Here they are made of the fast ones:

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

_Settings = tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]
"""Stride, padding, dilation and groups of a convolution."""


def replace_gradients(network: nn.Module) -> None:
    """Let the convolutions in groups of a network compute their gradients as this file says.

    Args:
        network: Its modules change class; names, parameters and results stay.
    """
    for module in network.modules():
        if type(module) in (nn.Conv2d, Conv2dSame) and _is_replaced(module):
            module.__class__ = GroupedConv2dSame if isinstance(module, Conv2dSame) else GroupedConv2d


def _is_replaced(conv: nn.Module) -> bool:
    """Whether it has groups, and a gradient that is wrong or has no fast kernel."""
    assert isinstance(conv, nn.Conv2d)
    if conv.groups == 1 or conv.padding_mode != "zeros":
        return False
    slow = conv.kernel_size[0] > _SIDE or max(conv.stride) > 1
    return max(conv.dilation) > 1 or (slow and _in_squares(conv.weight, conv.groups))


def _in_squares(weight: Tensor, groups: int) -> bool:
    """Whether a kernel (C,c,k,l) is depthwise and has squares of 3x3 weights."""
    return weight.shape[:2] == (groups, 1) and weight.shape[2] == weight.shape[3] >= _SIDE


class GroupedConv2d(nn.Conv2d):
    """`nn.Conv2d` of several groups."""

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of `nn.Conv2d`.

        Args:
            x: (N,C,H,W).

        Returns:
            (N,C,H',W').
        """
        padding = self.padding
        if isinstance(padding, str):  # "same" may be one pixel more on one side
            x, padding = F.pad(x, self._reversed_padding_repeated_twice), (0, 0)
        return grouped_conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)  # type: ignore[arg-type]


class GroupedConv2dSame(Conv2dSame):  # type: ignore[misc]
    """timm's convolution with TensorFlow's padding, of several groups."""

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of timm's `Conv2dSame`.

        Args:
            x: (N,C,H,W), which is padded here; odd pixels go below and to the right.

        Returns:
            (N,C,ceil(H/stride),ceil(W/stride)).
        """
        x = pad_same(x, list(self.kernel_size), list(self.stride), list(self.dilation))
        return grouped_conv2d(x, self.weight, self.bias, self.stride, (0, 0), self.dilation, self.groups)


def grouped_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """What `F.conv2d` gives, with the gradients of this file.

    Args:
        x: (N,C,H,W).
        weight: (D,C/groups,k,l).
        bias: (D,) or None.
        stride: Of the kernel.
        padding: Zeros on each side.
        dilation: Of the kernel.
        groups: More than one.

    Returns:
        (N,D,H',W').
    """
    autocast = torch.is_autocast_enabled(x.device.type)
    dtype = torch.get_autocast_dtype(x.device.type) if autocast else x.dtype
    if x.device.type != "cpu" or dtype != torch.bfloat16 or not torch.is_grad_enabled():
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    x, weight = x.to(dtype), weight.to(dtype)
    if _in_squares(weight, groups) and 1 < dilation[0] == dilation[1] <= _MOST_IMAGES and stride == (1, 1):
        y = _dilated(x, weight, padding, dilation[0])
    else:
        y = _convolve(x, weight, (stride, padding, dilation, groups))
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
    y = _convolve(parts.permute(0, 3, 1, 2), weight, ((1, 1), (0, 0), (1, 1), c)).permute(0, 2, 3, 1)
    h, w = y.shape[1:3]
    whole = y.reshape(n, d, d, h, w, c).permute(0, 3, 1, 4, 2, 5).reshape(n, h * d, w * d, c)
    return whole[:, :rows, :columns].permute(0, 3, 1, 2)


def _convolve(x: Tensor, weight: Tensor, settings: _Settings) -> Tensor:
    """A convolution without a bias, in bfloat16."""
    result: Tensor = _Grouped.apply(x, weight, settings)
    return result


class _Grouped(torch.autograd.Function):
    """`F.conv2d` with the gradients of this file."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, settings: _Settings) -> Tensor:
        """The convolution, without a bias."""
        ctx.save_for_backward(x, weight)
        ctx.settings = settings
        return F.conv2d(x, weight, None, *settings)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the input and the kernel."""
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        stride, _, dilation, _ = ctx.settings
        x_gradient = weight_gradient = None
        if ctx.needs_input_grad[0]:
            wide = torch.float32 if max(stride) > 1 else torch.bfloat16
            shape_of_x = torch.empty_like(x, dtype=wide)  # of x only the shape is read
            wide_gradient = _gradients(gradient.to(wide), shape_of_x, weight.to(wide), ctx.settings, of_input=True)
            x_gradient = wide_gradient.to(x.dtype)
        if ctx.needs_input_grad[1] and max(dilation) > 1:
            wide_gradient = _gradients(gradient.float(), x.float(), weight.float(), ctx.settings, of_input=False)
            weight_gradient = wide_gradient.to(weight.dtype)
        elif ctx.needs_input_grad[1]:
            weight_gradient = _weight_gradient(gradient, x, weight, ctx.settings)
        return x_gradient, weight_gradient, None


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, settings: _Settings) -> Tensor:
    """That of a kernel of any side, in squares of 3x3 weights: of a 7x7 kernel those that begin at 0, 3 and 4."""
    stride, padding, dilation, groups = settings
    side = weight.shape[-1]
    if side == _SIDE:
        return _gradients(gradient, x, weight, settings, of_input=False)
    x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    height, width = ((size - 1) * step + _SIDE for size, step in zip(gradient.shape[2:], stride, strict=True))
    starts = sorted({*range(0, side - _SIDE, _SIDE), side - _SIDE})
    result = torch.empty_like(weight)
    small = weight[:, :, :_SIDE, :_SIDE].contiguous()
    for top in starts:
        for left in starts:
            part = x[:, :, top : top + height, left : left + width].contiguous(memory_format=torch.channels_last)
            square = _gradients(gradient, part, small, (stride, (0, 0), dilation, groups), of_input=False)
            result[:, :, top : top + _SIDE, left : left + _SIDE] = square
    return result


def _gradients(gradient: Tensor, x: Tensor, weight: Tensor, settings: _Settings, *, of_input: bool) -> Tensor:
    """PyTorch's own gradient of the input or the kernel."""
    stride, padding, dilation, groups = settings
    both: list[Tensor] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, dilation, False, (0, 0), groups, [of_input, not of_input, False]
    )
    return both[0] if of_input else both[1]
