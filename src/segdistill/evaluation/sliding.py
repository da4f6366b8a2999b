"""Scores from overlapping windows, a band of rows at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from segdistill.evaluation.settings import InferenceConfig
from segdistill.outputs import resize


def window_starts(length: int, crop: int, stride: int) -> list[int]:
    """Where windows of `crop` pixels start along an axis: every `stride` pixels, the last moved back inside.

    One window, at 0, if the axis is no longer than it.
    """
    count = max(length - crop + stride - 1, 0) // stride + 1
    return [max(min(i * stride, length - crop), 0) for i in range(count)]


class SlidingScores:
    """Scores of one view (1,3,H,W), averaged over the windows that cover a pixel; rows are asked for in order.

    scores_of: windows (B,3,h,w) -> logits (B,K,..). No more rows are held than a row of windows covers.
    """

    def __init__(self, view: Tensor, scores_of: Callable[[Tensor], Tensor], config: InferenceConfig) -> None:
        assert config.crop is not None
        self._view, self._scores_of, self._config = view, scores_of, config
        self.height, self.width = view.shape[-2:]
        self._crop = min(config.crop[0], self.height), min(config.crop[1], self.width)
        down, right = config.window_stride
        self._lefts = window_starts(self.width, config.crop[1], right)
        tops = window_starts(self.height, config.crop[0], down)
        self._waiting = list(tops)
        self._shares = 1 / _cover(tops, self._crop[0], self.height), 1 / _cover(self._lefts, self._crop[1], self.width)
        self._base = 0
        self._sums: Tensor | None = None  # rows from `base` on, (R,K,W)

    def rows(self, first: int, last: int) -> Tensor:
        """The scores (last-first,K,W) of rows `first` .. `last` - 1; rows before `first` are forgotten."""
        if self._waiting and self._waiting[0] < last:
            self._add(first, [top for top in self._waiting if top < last])
        assert self._sums is not None
        part = self._sums[first - self._base : last - self._base]
        down, across = (share.to(part) for share in self._shares)
        return part * down[first:last, None, None] * across

    def _add(self, first: int, tops: list[int]) -> None:
        """Run the windows of these rows of windows, after letting go of the rows before `first` and before them."""
        self._waiting = self._waiting[len(tops) :]
        height, width = self._crop
        corners = [(top, left) for top in tops for left in self._lefts]
        for start in range(0, len(corners), self._config.batch):
            chosen = corners[start : start + self._config.batch]
            windows = torch.cat([self._view[..., y : y + height, x : x + width] for y, x in chosen])
            logits = self._scores_of(windows).float()
            scores = resize(logits, self._crop, align_corners=self._config.align_corners).transpose(1, 2)
            if start == 0:
                self._make_room(min(first, tops[0]), tops[-1] + height, scores)
            assert self._sums is not None
            for (y, x), one in zip(chosen, scores.to(self._sums.device), strict=True):
                self._sums[y - self._base : y - self._base + height, :, x : x + width] += one

    def _make_room(self, first: int, last: int, like: Tensor) -> None:
        device = torch.device("cpu") if self._config.store == "cpu" else like.device
        sums = torch.zeros(last - first, like.shape[2], self.width, device=device)
        if self._sums is not None:
            kept = self._sums[first - self._base :]
            sums[: len(kept)] = kept
        self._base, self._sums = first, sums


def _cover(starts: list[int], crop: int, length: int) -> Tensor:
    """How many windows cover each pixel of an axis."""
    counts = torch.zeros(length)
    for start in starts:
        counts[start : start + crop] += 1
    return counts
