"""Swin Transformer as a backbone: attention in windows, every other block in shifted ones; any size of image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import DropPath, trunc_normal_
from torch import Tensor, nn

from segdistill.core.numbers import Count, Share
from segdistill.models.families.base import Backbone


class WindowAttention(nn.Module):
    """Multi-head attention within windows of `window` squared tokens, with a bias for each relative position.

    (N,H,W,C) -> (N,H,W,C). The map is padded with zeros, right and below, to whole windows. With a shift the map is
    rolled up and left by it, and tokens that were no neighbors before do not see each other.

    Args:
        channels: C.
        heads: Of the attention.
        window: Side of a window in tokens.
        shift: By how many tokens; 0 for none.
    """

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", _relative_positions(window))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        # timm's, not torch's: that one draws until all numbers fit, for ever where opening weights skips the draws.
        trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """What each token takes from those of its window.

        Args:
            x: Tokens (N,H,W,C), channels last, of any size.

        Returns:
            (N,H,W,C).
        """
        side, (n, height, width, channels) = self.window, x.shape
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = x.view(n, rows, side, columns, side, channels).transpose(2, 3)
        x = x.reshape(n, rows * columns, side * side, channels)
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, channels // self.heads))
        qkv = qkv.permute(3, 0, 1, 4, 2, 5)  # each of q, k and v is n,windows,heads,L,C/heads for L tokens a window
        # ONNX has attention of four dimensions: windows join the heads where masks differ by window, else the images.
        mask, joined = self._bias(), 1
        if self.shift:
            mask = (mask + self._separation(rows, columns, x)[:, None]).flatten(0, 1)
            joined = 2
        q, k, v = qkv.flatten(joined, joined + 1)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[None].to(q.dtype))
        x = x.reshape(n, rows * columns, self.heads, side * side, channels // self.heads)
        # A copy, and no view of what lies so already: ONNX's attention leaves its result in another order in memory.
        x = self.proj(x.transpose(2, 3).clone(memory_format=torch.contiguous_format).flatten(3))
        x = x.view(n, rows, columns, side, side, channels).transpose(2, 3)
        x = x.reshape(n, rows * side, columns * side, channels)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x[:, :height, :width]

    def _bias(self) -> Tensor:
        """(heads,L,L): what the relative position adds to the scores."""
        tokens = self.window**2
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        return bias.view(tokens, tokens, -1).permute(2, 0, 1)

    def _separation(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """(rows * columns,L,L): -100 between tokens that only the roll has brought into one window, 0 otherwise."""
        side = self.window
        down, across = (_region(count * side, side, self.shift, like.device) for count in (rows, columns))
        regions = 3 * down[:, None] + across[None]
        regions = regions.view(rows, side, columns, side).transpose(1, 2).reshape(rows * columns, side * side)
        return -100.0 * (regions[:, None] != regions[:, :, None])


def _region(length: int, window: int, shift: int, device: torch.device) -> Tensor:
    """(length,): 0 before the last window, 1 for its tokens that the roll left there, 2 for those it brought."""
    position = torch.arange(length, device=device)
    return (position >= length - window).long() + (position >= length - shift).long()


def _relative_positions(window: int) -> Tensor:
    """(L,L): which row of the table is that of query i and key j, L = window^2."""
    rows, columns = torch.arange(window).repeat_interleave(window), torch.arange(window).repeat(window)
    down, across = rows[:, None] - rows[None], columns[:, None] - columns[None]
    return (down + window - 1) * (2 * window - 1) + across + window - 1


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)) with four times the channels and GELU; (N,H,W,C) to the same.

    Args:
        channels: C.
        heads: Of the attention.
        window: Side of a window in tokens.
        shift: Of the windows in tokens; 0 for none.
        drop_path: Probability of leaving either addition out, while training.
    """

    def __init__(self, channels: int, heads: int, window: int, shift: int, drop_path: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, window, shift)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """The block.

        Args:
            x: Tokens (N,H,W,C), channels last.

        Returns:
            (N,H,W,C).
        """
        x = x + self.drop_path(self.attn(self.norm1(x)))
        y: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return y


class PatchMerging(nn.Module):
    """Two by two tokens to one of twice the channels; (N,H,W,C) -> (N,ceil(H/2),ceil(W/2),2C).

    The four are concatenated channel by channel, as OpenMMLab's weights have it: c(0,0), c(0,1), c(1,0), c(1,1).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The tokens of the next stage.

        Args:
            x: Tokens (N,H,W,C), channels last; odd sides are padded with zeros.

        Returns:
            (N,ceil(H/2),ceil(W/2),2C).
        """
        n, height, width, channels = x.shape
        x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        x = x.view(n, (height + 1) // 2, 2, (width + 1) // 2, 2, channels).permute(0, 1, 3, 5, 2, 4)
        y: Tensor = self.reduction(self.norm(x.flatten(3)))
        return y


class Swin(Backbone):
    """RGB (N,3,H,W) -> four stages at strides 4, 8, 16 and 32, each with a layer norm at its end.

    Source: Liu et al., "Swin Transformer", ICCV 2021.

    Args:
        channels: Of the first stage; each further one has twice as many.
        depths: Blocks in the stages.
        heads: Of the attention in the stages.
        window: Side of a window in tokens.
        drop_path: Of the last block, rising from 0.
    """

    def __init__(
        self,
        *,
        channels: Count = 96,
        depths: tuple[Count, Count, Count, Count] = (2, 2, 6, 2),
        heads: tuple[Count, Count, Count, Count] = (3, 6, 12, 24),
        window: Count = 7,
        drop_path: Share = 0.3,
    ) -> None:
        widths = [channels << stage for stage in range(4)]
        super().__init__(widths, [4, 8, 16, 32])
        self.patches = nn.Conv2d(3, channels, 4, stride=4)
        self.patch_norm = nn.LayerNorm(channels)
        rates = iter(torch.linspace(0, drop_path, sum(depths), device="cpu").tolist())
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, head, window, i % 2 * (window // 2), next(rates)) for i in range(depth)))
            for width, head, depth in zip(widths, heads, depths, strict=True)
        )
        self.merges = nn.ModuleList(PatchMerging(width) for width in widths[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The stages.

        Args:
            image: RGB (N,3,H,W), normalized, of any size; it is padded with zeros to multiples of 4.

        Returns:
            Four maps (N,C_i,h_i,w_i), channels first again, at strides 4, 8, 16 and 32.
        """
        image = F.pad(image, (0, -image.shape[-1] % 4, 0, -image.shape[-2] % 4))
        x = self.patch_norm(self.patches(image).permute(0, 2, 3, 1))
        maps = []
        for i, (stage, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            if i:
                x = self.merges[i - 1](x)
            x = stage(x)
            maps.append(norm(x).permute(0, 3, 1, 2).contiguous())
        return maps
