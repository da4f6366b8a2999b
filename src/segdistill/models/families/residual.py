"""Residual stages of the networks with two and three branches: DDRNet and PIDNet."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.models.layers import ConvNormAct, NormActConv, resize_like


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, (N,C,H,W) -> (N,channels,H/stride,W/stride).

    Args:
        inputs: Channels that come in.
        channels: That go out.
        stride: Of the first convolution.
        act: Whether a ReLU follows the sum.
    """

    expansion = 1

    def __init__(self, inputs: int, channels: int, *, stride: int = 1, act: bool = True) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(inputs, channels, 3, stride=stride)
        self.conv2 = ConvNormAct(channels, channels, 3, act=False)
        self.downsample = _shortcut(inputs, channels, stride)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """The block.

        Args:
            x: Maps (N,inputs,H,W).

        Returns:
            (N,channels,H/stride,W/stride), not negative if there is a ReLU.
        """
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.conv2(self.conv1(x)) + shortcut
        return F.relu(y) if self.act else y


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions to twice `channels`, and a shortcut; no ReLU follows the sum.

    Args:
        inputs: Channels that come in.
        channels: Half of those that go out.
        stride: Of the 3x3 convolution.
    """

    expansion = 2

    def __init__(self, inputs: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(inputs, channels)
        self.conv2 = ConvNormAct(channels, channels, 3, stride=stride)
        self.conv3 = ConvNormAct(channels, 2 * channels, act=False)
        self.downsample = _shortcut(inputs, 2 * channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """The block.

        Args:
            x: Maps (N,inputs,H,W).

        Returns:
            (N,2 channels,H/stride,W/stride).
        """
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.conv3(self.conv2(self.conv1(x))) + shortcut
        return y


def _shortcut(inputs: int, outputs: int, stride: int) -> ConvNormAct | None:
    return None if stride == 1 and inputs == outputs else ConvNormAct(inputs, outputs, stride=stride, act=False)


def basic_layer(inputs: int, channels: int, blocks: int, stride: int = 1) -> nn.Sequential:
    """Basic blocks in a row; the ReLU after the last one is left to the caller.

    Args:
        inputs: Channels that come in.
        channels: Width of the blocks.
        blocks: How many there are.
        stride: Of the first one.

    Returns:
        Maps (N,`inputs`,H,W) -> (N,`channels`,H/stride,W/stride).
    """
    rest = [BasicBlock(channels, channels, act=i < blocks - 1) for i in range(1, blocks)]
    return nn.Sequential(BasicBlock(inputs, channels, stride=stride), *rest)


def bottleneck_layer(inputs: int, channels: int, blocks: int, stride: int = 1) -> nn.Sequential:
    """Bottlenecks in a row, to twice `channels`.

    Args:
        inputs: Channels that come in.
        channels: Width of the blocks.
        blocks: How many there are.
        stride: Of the first one.

    Returns:
        Maps (N,`inputs`,H,W) -> (N,2 `channels`,H/stride,W/stride).
    """
    rest = [Bottleneck(2 * channels, channels) for _ in range(1, blocks)]
    return nn.Sequential(Bottleneck(inputs, channels, stride=stride), *rest)


def stem(channels: int, blocks: int) -> nn.Sequential:
    """RGB at stride 1 -> twice `channels` at stride 8; item `FINE` is the end of stride 4.

    Args:
        channels: At stride 4.
        blocks: At stride 4, and as many at stride 8.

    Returns:
        Images (N,3,H,W) -> (N,2 `channels`,H/8,W/8).
    """
    return nn.Sequential(
        ConvNormAct(3, channels, 3, stride=2),
        ConvNormAct(channels, channels, 3, stride=2),
        basic_layer(channels, channels, blocks),
        nn.ReLU(),
        basic_layer(channels, 2 * channels, blocks, stride=2),
        nn.ReLU(),
    )


FINE = 4
"""How many items of a `stem` run at stride 4 or finer."""


class PyramidPooling(nn.Module):
    """The context of DDRNet (DAPPM) and of PIDNet (`parallel`: PAPPM), (N,C,h,w) -> (N,`outputs`,h,w).

    x_0 = s_0(x); p_i = up(s_i(pool_i(x))), pools of 5, 9 and 17 pixels at strides 2, 4, 8, and of the whole map.
    DAPPM: x_i = f_i(p_i + x_(i-1)); PAPPM: x_i = f_i(p_i + x_0), all f_i as one grouped convolution.
    Result: c(x_0 .. x_4) + shortcut(x); all convolutions come after a norm and a ReLU.

    Source: Hong et al., arXiv 2101.06085; Xu et al., arXiv 2206.02066.

    Args:
        inputs: Channels that come in.
        channels: Of each scale.
        outputs: Channels that go out.
        parallel: PAPPM rather than DAPPM.
    """

    def __init__(self, inputs: int, channels: int, outputs: int, *, parallel: bool = False) -> None:
        super().__init__()
        pools = [nn.AvgPool2d(2 * stride + 1, stride, stride) for stride in (2, 4, 8)]
        reduce: Callable[[], NormActConv] = functools.partial(NormActConv, inputs, channels)
        self.scales = nn.ModuleList(
            [reduce(), *(nn.Sequential(pool, reduce()) for pool in (*pools, nn.AdaptiveAvgPool2d(1)))]
        )
        self.parallel = parallel
        self.processes: nn.Module = (
            NormActConv(4 * channels, 4 * channels, 3, groups=4)
            if parallel
            else nn.ModuleList(NormActConv(channels, channels, 3) for _ in range(4))
        )
        self.compression = NormActConv(5 * channels, outputs)
        self.shortcut = NormActConv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """The context of each position.

        Args:
            x: Maps (N,inputs,h,w) of any size.

        Returns:
            (N,outputs,h,w).
        """
        first, *pooled = (scale(x) for scale in self.scales)
        pooled = [resize_like(each, x) for each in pooled]
        if self.parallel:
            maps = [first, self.processes(torch.cat([each + first for each in pooled], 1))]
        else:
            maps = [first]
            assert isinstance(self.processes, nn.ModuleList)
            for process, each in zip(self.processes, pooled, strict=True):
                maps.append(process(each + maps[-1]))
        y: Tensor = self.compression(torch.cat(maps, 1)) + self.shortcut(x)
        return y
