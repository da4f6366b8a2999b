"""Scores from overlapping windows, a band of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from segdistill.core.outputs import resize
from segdistill.evaluation.inference.taps import taps
from segdistill.evaluation.inference.views import Size, View
from segdistill.evaluation.settings import InferenceConfig

_WIDE = 4  # windows: a panel is no narrower, as those that two panels share go through the network twice


def window_starts(length: int, crop: int, stride: int) -> list[int]:
    """Where windows start along an axis: every `stride` pixels, the last moved back inside.

    Args:
        length: of the axis, in pixels.
        crop: length of a window, in pixels.
        stride: from one start to the next, in pixels.

    Returns:
        First pixels of the windows, ascending; just 0 if the axis is no longer than a window.
    """
    count = max(length - crop + stride - 1, 0) // stride + 1
    return [max(min(i * stride, length - crop), 0) for i in range(count)]


def panels(views: Sequence[View], scores_of: Callable[[Tensor], Tensor], width: int, config: InferenceConfig) -> int:
    """In how many panels beside each other an image of `width` pixels is gone through; mostly one.

    As many as it takes that the windows of all views that are held at a time have no more than `config.max_elements`
    logits; but a panel is never narrower than a few windows.

    Args:
        views: of one image.
        scores_of: windows (B,3,h,w) -> logits (B,K,..); it is asked once, for the size of the logits.
        width: of the image, in pixels.
        config: the protocol.

    Returns:
        The number of panels, 1 at least.
    """
    widest = max(views, key=lambda view: view.size[1])
    crop, (down, right) = _window(widest.size, config), config.window_stride
    if widest.size[1] <= _WIDE * crop[1]:
        return 1
    held = scores_of(widest.window(0, 0, crop)).numel() * len(views) * -(-crop[0] // down)
    most = max(_WIDE * crop[1], config.max_elements // held * right - crop[1])
    return min(width, -(-widest.size[1] // most))


class SlidingScores:
    """Scores of columns of a view of one image, averaged over the windows that cover a pixel.

    Rows are asked for in order. Held are the logits, as they leave the network, of windows that cover the rows asked
    for, and no more than `config.max_elements` scores of pixels. The plain twin adds all windows' upsampled logits in
    one map of the view's size and divides by how many cover each pixel.

    Args:
        view: of one image.
        scores_of: windows (B,3,h,w) -> logits (B,K,..).
        config: the protocol.
        left: the first column.
        right: the column behind the last.
    """

    # A view of 10 rows, windows of 4 rows every 3: their tops are 0, 3 and 6. Rows 0 .. 4 are asked for, then 5 .. 9:
    #     rows        0 1 2 3 4 5 6 7 8 9
    #     top 0       x x x x                    run for rows 0 .. 4, let go before row 5
    #     top 3             x x x x              run for rows 0 .. 4, still held for rows 5 and 6
    #     top 6                   x x x x        run for rows 5 .. 9
    #     shares      1 1 1 ½ 1 1 ½ 1 1 1        of the sums of the windows: rows 3 and 6 have two
    # Row 5 is no other window's, so its scores are made at once with rows 0 .. 4 if they fit.

    def __init__(
        self, view: View, scores_of: Callable[[Tensor], Tensor], config: InferenceConfig, left: int, right: int
    ) -> None:
        self._view, self._scores_of, self._config = view, scores_of, config
        self._left, self._right = left, right
        self.height, width = view.size
        self._crop = _window(view.size, config)
        tops, lefts = (window_starts(*axis) for axis in zip(view.size, self._crop, config.window_stride, strict=True))
        self._lefts = [start for start in lefts if start < right and start + self._crop[1] > left]
        self._waiting = tops
        self._shares = 1 / _cover(tops, self._crop[0], self.height), 1 / _cover(lefts, self._crop[1], width)[left:right]
        self._held: list[tuple[int, int, Tensor]] = []  # windows' tops, lefts and logits (K,h,w)
        self._base = 0
        self._scores: Tensor | None = None  # rows from `base` on, (R,K,right-left)

    def rows(self, first: int, last: int) -> Tensor:
        """The scores of some rows; rows before them are forgotten.

        Args:
            first: the first row.
            last: the one behind the last.

        Returns:
            (last-first,K,right-left).
        """
        if self._scores is None or last > self._base + len(self._scores):
            self._scores = None  # before the next are made
            self._held = [window for window in self._held if window[0] + self._crop[0] > first]
            self._run([top for top in self._waiting if top < last])
            self._base, self._scores = first, self._averaged(first, last)
        return self._scores[first - self._base : last - self._base]

    def _run(self, tops: list[int]) -> None:
        """Hold the logits of these rows of windows as well."""
        self._waiting = self._waiting[len(tops) :]
        corners = [(top, left) for top in tops for left in self._lefts]
        for start in range(0, len(corners), self._config.batch):
            chosen = corners[start : start + self._config.batch]
            logits = self._scores_of(torch.cat([self._view.window(*corner, self._crop) for corner in chosen]))
            if self._config.store == "cpu":
                logits = logits.cpu()
            logits = logits.float().contiguous()  # no part of something larger, which would be held with it
            self._held += [(*corner, one) for corner, one in zip(chosen, logits, strict=True)]

    def _averaged(self, first: int, last: int) -> Tensor:
        """The scores of rows `first` .. `last` - 1, and of those below that no other window covers if they fit."""
        logits = self._held[0][2]
        width = self._right - self._left
        fit = first + self._config.max_elements // (len(logits) * width)
        last = max(last, min(fit, *self._waiting[:1], self.height))
        scores = torch.zeros(last - first, len(logits), width, device=logits.device)
        for top, left, logits in self._held:
            upper, lower = max(first, top), min(last, top + self._crop[0])
            near, far = max(self._left, left), min(self._right, left + self._crop[1])
            if upper < lower:
                part = self._upsampled(logits, upper - top, lower - top)[..., near - left : far - left]
                scores[upper - first : lower - first, :, near - self._left : far - self._left] += part
        down, across = (share.to(scores) for share in self._shares)
        return scores.mul_(down[first:last, None, None]).mul_(across)

    def _upsampled(self, logits: Tensor, first: int, last: int) -> Tensor:
        """Rows `first` .. `last` - 1 of a window's logits (K,h,w) at its size, (R,K,W)."""
        if logits.shape[1] == self._crop[0]:
            rows = logits[:, first:last].transpose(0, 1)
        else:
            align = self._config.align_corners
            # A window's 2 rows of logits make 4 of pixels. If 0 and 1 are asked for, they alone are made, by taps:
            # row 0 is row 0 of the logits, row 1 is 3/4 of that and 1/4 of the other.
            part = taps(logits.shape[1], self._crop[0], first, last, align_corners=align)
            rows = part.of(logits[:, part.start : part.stop].transpose(0, 1), 0)
        return resize(rows[None], (rows.shape[1], self._crop[1]), align_corners=self._config.align_corners)[0]


def _window(size: Size, config: InferenceConfig) -> Size:
    """The size of the windows of a view of `size`."""
    assert config.crop is not None
    return min(config.crop[0], size[0]), min(config.crop[1], size[1])


def _cover(starts: list[int], crop: int, length: int) -> Tensor:
    """How many windows cover each pixel of an axis."""
    counts = torch.zeros(length)
    for start in starts:
        counts[start : start + crop] += 1
    return counts
