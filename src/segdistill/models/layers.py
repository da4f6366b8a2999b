"""Building blocks shared by the heads."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.outputs import resize


class BatchNorm(nn.BatchNorm2d):
    """Batch normalization that survives one value a channel (a 1x1 map in a batch of one) while training.

    Such a batch has no variance, so the running statistics serve for it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The normalized maps.

        Args:
            x: (N,C,h,w).

        Returns:
            (N,C,h,w).
        """
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch normalization, ReLU unless not `act`; padded so that stride 1 keeps the size.

    Args:
        inputs: Channels of the maps.
        outputs: Channels of the result.
        kernel: Side of the kernel, odd.
        stride: Of the kernel.
        dilation: Of the kernel.
        groups: Of the convolution.
        act: Whether there is a ReLU.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        act: bool = True,
    ) -> None:
        padding = dilation * (kernel // 2)
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
        super().__init__(conv, BatchNorm(outputs), *([nn.ReLU(inplace=True)] if act else []))


class NormActConv(nn.Sequential):
    """Batch normalization, ReLU, convolution without bias: the order of `ConvNormAct` before its convolution.

    Args:
        inputs: Channels of the maps.
        outputs: Channels of the result.
        kernel: Side of the kernel, odd.
        groups: Of the convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, groups: int = 1) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
        super().__init__(OrderedDict(norm=BatchNorm(inputs), act=nn.ReLU(), conv=conv))


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 then pointwise 1x1, each with batch normalization; ReLU after both, one or none.

    Args:
        inputs: Channels of the maps.
        outputs: Channels of the result.
        stride: Of the depthwise kernel.
        dilation: Of the depthwise kernel.
        depthwise_act: Whether the depthwise convolution has a ReLU.
        act: Whether the pointwise one has.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        depthwise_act: bool = True,
        act: bool = True,
    ) -> None:
        super().__init__(
            ConvNormAct(inputs, inputs, 3, stride=stride, dilation=dilation, groups=inputs, act=depthwise_act),
            ConvNormAct(inputs, outputs, act=act),
        )


class Resize(nn.Module):
    """`resize` as a module, where published networks resize whatever the size: a counter sees it even when idle."""

    def forward(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """The maps at another size, see `resize`.

        Args:
            maps: (N,C,h,w).
            size: (H,W) of the result.

        Returns:
            (N,C,H,W).
        """
        return resize(maps, size)


def resize_like(maps: Tensor, like: Tensor) -> Tensor:
    """Bilinear resize of maps (N,C,h,w) to the size of `like` (N,*,H,W), whatever the sizes: no branch to export.

    Args:
        maps: What is resized.
        like: Whose size it gets.

    Returns:
        (N,C,H,W).
    """
    return F.interpolate(maps, (like.shape[-2], like.shape[-1]), mode="bilinear", align_corners=False)


class AdaptiveAveragePool(nn.Module):
    """`adaptive_average_pool` to a square, as a module: a counter sees pooling, not products of matrices.

    Args:
        size: Side of the result.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """The means of the cells of a grid.

        Args:
            x: Maps (N,C,h,w).

        Returns:
            (N,C,size,size).
        """
        return adaptive_average_pool(x, (self.size, self.size))


def adaptive_average_pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Adaptive average pooling as two products with small averaging matrices.

    Equal to `F.adaptive_avg_pool2d` within float rounding, and unlike it exports for input sizes that are not fixed.

    Args:
        x: Maps (N,C,H,W).
        size: (h,w) of the result.

    Returns:
        (N,C,h,w).
    """
    if size == (1, 1):
        return x.mean((-2, -1), keepdim=True)
    rows = _averaging_matrix(x.shape[-2], size[0], x)
    columns = _averaging_matrix(x.shape[-1], size[1], x)
    return rows @ x @ columns.mT


def _averaging_matrix(inputs: int, outputs: int, like: Tensor) -> Tensor:
    """(outputs, inputs): row i averages the inputs floor(i * inputs / outputs) .. ceil((i + 1) * inputs / outputs)."""
    position = torch.arange(inputs, device=like.device)
    row = torch.arange(outputs, device=like.device)[:, None]
    first = row * inputs // outputs
    last = ((row + 1) * inputs + outputs - 1) // outputs
    inside = (position >= first) & (position < last)
    return inside.to(like.dtype) / (last - first).to(like.dtype)
