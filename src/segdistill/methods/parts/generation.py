"""Masked generation: a small generator rebuilds the teacher's map from a student's map with most positions hidden."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Mask = Literal["random", "center"]


class MaskedGenerator(nn.Module):
    """Student maps (N,C_s,h,w) to generated maps (N,C_t,h,w): align, hide positions, generate.

    align: a learned 1x1 convolution with bias, there only if C_s != C_t. Hidden positions are 0 in all channels.
    The generator is 3x3 convolution, ReLU, 3x3 convolution at C_t channels.

    Args:
        student: maps of the student; only the shape counts.
        teacher: maps of the teacher.
        masked: share of positions that "random" hides.
        mask: "random", drawn at each call; "center" hides the middle third of both axes.
        enhanced: the generator is the mean of two such that share the first layer, of which the second has one layer
            more.
    """

    def __init__(
        self, student: Tensor, teacher: Tensor, *, masked: float, mask: Mask = "random", enhanced: bool = False
    ) -> None:
        super().__init__()
        c_s, c_t = student.shape[1], teacher.shape[1]
        self.masked = masked
        self.mask = mask
        self.align = nn.Identity() if c_s == c_t else nn.Conv2d(c_s, c_t, 1)
        self.generator = _Enhanced(c_t) if enhanced else nn.Sequential(_conv(c_t), nn.ReLU(inplace=True), _conv(c_t))

    def forward(self, maps: Tensor, valid: Tensor | None) -> Tensor:
        """Generated maps.

        Args:
            maps: the student's (N,C_s,h,w).
            valid: bool (N,1,h,w), void is hidden as well; None if there is none.

        Returns:
            (N,C_t,h,w).
        """
        seen = self._seen(maps)
        generated: Tensor = self.generator(self.align(maps) * (seen if valid is None else seen & valid))
        return generated

    def _seen(self, maps: Tensor) -> Tensor:
        n, _, h, w = maps.shape
        if self.mask == "random":
            return torch.rand(n, 1, h, w, device=maps.device) <= 1 - self.masked
        seen = torch.ones(n, 1, h, w, dtype=torch.bool, device=maps.device)
        seen[:, :, h // 3 : 2 * h // 3, w // 3 : 2 * w // 3] = False
        return seen


class _Enhanced(nn.Module):
    """a = relu(conv x), b = relu(conv a), (conv a + conv b) / 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _conv(channels), _conv(channels)
        self.shallow, self.deep = _conv(channels), _conv(channels)

    def forward(self, maps: Tensor) -> Tensor:
        a = torch.relu(self.first(maps))
        b = torch.relu(self.second(a))
        generated: Tensor = (self.shallow(a) + self.deep(b)) / 2
        return generated


def _conv(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1)
