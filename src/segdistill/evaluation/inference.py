"""From an image to class indices; the one path of validation, evaluation and prediction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.evaluation.settings import InferenceConfig
from segdistill.evaluation.sliding import SlidingScores
from segdistill.outputs import SegOutput, linear_taps, resize

Size = tuple[int, int]

_CACHED = 1 << 17  # scores in a strip: on a processor about what its cache holds


def as_input(image: Tensor) -> Tensor:
    """uint8 (N,3,H,W) -> float32 in [0,1], in the memory layout that convolutions like best."""
    return (image.float() / 255).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict_scores(network: nn.Module, image: Tensor) -> Tensor:
    """Class scores (N,K,H,W) at the size of `image` (uint8 N,3,H,W), whole image at once; sets evaluation mode."""
    network.eval()
    output: SegOutput = network(as_input(image))
    return resize(output.logits.float(), (image.shape[-2], image.shape[-1]))


def predict_classes(network: nn.Module, image: Tensor) -> Tensor:
    """Class indices (N,H,W), int64, of `image` (uint8 N,3,H,W), whole, in torch's own operations: what costs count."""
    return predict_scores(network, image).argmax(1)


@dataclass(frozen=True)
class Predicted:
    """classes: (N,H,W) indices, uint8 if they fit. confidence: (N,H,W), the probability of that class, if asked for."""

    classes: Tensor
    confidence: Tensor | None


@torch.no_grad()
def infer(network: nn.Module, image: Tensor, config: InferenceConfig, *, confidence: bool = False) -> Predicted:
    """Classes of `image` (uint8 N,3,H,W) as `config` says; sets evaluation mode.

    Scores come a strip of rows at a time, so that nothing of the size N K H W is held, and on a processor none of them
    leaves its cache.
    """
    network.eval()
    n, _, height, width = image.shape
    classes, sure = None, None
    for strip in _strips(network, image, config):
        best = strip.scores.amax(1)
        below = strip.scores - best[:, None]
        if classes is None:
            small = torch.uint8 if below.shape[1] <= 256 else torch.int64
            classes = torch.empty(n, height, width, dtype=small, device=best.device)
            sure = torch.empty(n, height, width, device=best.device) if confidence else None
        rows = slice(strip.top, strip.top + len(best))
        if sure is not None:  # softmax at its largest is 1 / sum of exp(x - max)
            sure[strip.image, rows] = best if strip.probable else 1 / below.exp().sum(1)
        classes[strip.image, rows] = _zeros(below)
    assert classes is not None
    return Predicted(classes, sure)


def _zeros(below: Tensor) -> Tensor:
    """The first k at which `below` (R,K,W), negative elsewhere, is zero; (R,W). Overwrites it.

    As integers the bits of a negative float are negative and those of zero are zero, so OR-ing numbers in leaves the
    maximum to them: several times as fast as a search for the largest score, which keeps processors from their vectors.
    """
    last = below.shape[1] - 1
    numbers = torch.arange(last, -1, -1, dtype=torch.int32, device=below.device)[:, None]
    return (last - below.view(torch.int32).bitwise_or_(numbers).amax(1)).clamp_(0, last)


class _View(Protocol):
    """The scores of one view of one image on a grid of `height` rows; rows come as (R,K,w), asked for in order."""

    height: int

    def rows(self, first: int, last: int) -> Tensor: ...


class _Whole:
    """Logits (K,h,w) of a view that went through the network whole."""

    def __init__(self, logits: Tensor) -> None:
        self._maps = logits.transpose(0, 1)
        self.height = len(self._maps)

    def rows(self, first: int, last: int) -> Tensor:
        return self._maps[first:last]


@dataclass(frozen=True)
class _Path:
    """From a view's scores to those of the image: rows go to each of `heights` in turn, columns to each of `widths`."""

    view: _View
    heights: tuple[int, ...]
    widths: tuple[int, ...]
    mirrored: bool
    align_corners: bool

    def strip(self, top: int, bottom: int) -> Tensor:
        """Scores (R,K,W) of the image's rows `top` .. `bottom` - 1."""
        lifts = []
        first, last = top, bottom
        steps = [self.view.height, *self.heights]
        for source, target in reversed(list(pairwise(steps))):
            if source != target:
                matrix, first, last = _lift(source, target, self.align_corners, first, last)
                lifts.append(matrix)
        scores = self.widen(self.view.rows(first, last))
        for matrix in reversed(lifts):
            scores = (matrix.to(scores) @ scores.flatten(1)).view(-1, *scores.shape[1:])
        return scores.flip(-1) if self.mirrored else scores

    def widen(self, rows: Tensor) -> Tensor:
        """Rows (R,K,w) as (R,K,W)."""
        for width in self.widths:
            rows = resize(rows[None], (rows.shape[1], width), align_corners=self.align_corners)[0]
        return rows


@lru_cache(maxsize=512)
def _lift(source: int, target: int, align_corners: bool, top: int, bottom: int) -> tuple[Tensor, int, int]:
    """The matrix (bottom-top, last-first) that makes rows `top` .. of `target` from rows `first` .. of `source`."""
    low, high, rest = (taps[top:bottom] for taps in _taps(source, target, align_corners))
    first, last = int(low[0]), int(high[-1]) + 1
    matrix = torch.zeros(bottom - top, last - first, dtype=torch.float64)
    matrix.scatter_add_(1, (low - first)[:, None], (1 - rest)[:, None])
    matrix.scatter_add_(1, (high - first)[:, None], rest[:, None])
    return matrix.float(), first, last


@lru_cache(maxsize=32)
def _taps(source: int, target: int, align_corners: bool) -> tuple[Tensor, Tensor, Tensor]:
    return linear_taps(source, target, align_corners=align_corners)


@dataclass(frozen=True)
class _Strip:
    """Scores (R,K,W) of rows `top` .. of an image. probable: whether they are probabilities."""

    image: int
    top: int
    scores: Tensor
    probable: bool


def _strips(network: nn.Module, image: Tensor, config: InferenceConfig) -> Iterator[_Strip]:
    """The scores of all images, strip by strip."""
    height, width = image.shape[-2:]
    most = config.max_elements if image.is_cuda else min(_CACHED, config.max_elements)
    for i, paths in enumerate(_paths(network, image, config)):
        probable = config.average == "probabilities" and len(paths) > 1
        tall = max(1, most // (paths[0].view.rows(0, 1).shape[1] * width))
        for top in range(0, height, tall):
            strips = [path.strip(top, min(top + tall, height)) for path in paths]
            scores = strips[0]
            if len(paths) > 1:
                scores = sum((strip.softmax(1) if probable else strip for strip in strips), torch.zeros_like(scores))
                scores /= len(paths)
            yield _Strip(i, top, scores, probable)


def _paths(network: nn.Module, image: Tensor, config: InferenceConfig) -> Iterator[list[_Path]]:
    """For each image, the paths of its views; whole views of all images have gone through the network together."""
    size = (image.shape[-2], image.shape[-1])
    sides = (False, True) if config.flip else (False,)
    views = [(at, mirrored) for at in view_sizes(size, config) for mirrored in sides]

    def scores_of(pixels: Tensor) -> Tensor:
        output: SegOutput = network(as_input(pixels) if pixels.dtype == torch.uint8 else pixels)
        return output.logits

    if config.mode == "whole":
        whole = [scores_of(_pixels(image, at, mirrored, config)) for at, mirrored in views]
        for i in range(len(image)):
            yield [_whole(maps[i].float(), *view, size, config) for maps, view in zip(whole, views, strict=True)]
        return
    for one in image.split(1):
        windows = [SlidingScores(_pixels(one, at, side, config), scores_of, config) for at, side in views]
        yield [
            _Path(view, size[:1], size[1:], side, config.align_corners)
            for view, (_, side) in zip(windows, views, strict=True)
        ]


def _whole(logits: Tensor, at: Size, mirrored: bool, size: Size, config: InferenceConfig) -> _Path:
    """The path of logits (K,h,w) of a view of size `at`, its columns already widened if that is not too much."""
    steps = (at, size) if config.upsample == "stepwise" else (size,)
    heights, widths = tuple(height for height, _ in steps), tuple(width for _, width in steps)
    path = _Path(_Whole(logits), heights, widths, mirrored, config.align_corners)
    if logits.shape[0] * logits.shape[1] * size[1] > config.max_elements:
        return path
    wide = path.widen(path.view.rows(0, path.view.height))
    return _Path(_Whole(wide.transpose(0, 1)), heights, (), mirrored, config.align_corners)


def view_sizes(size: tuple[int, int], config: InferenceConfig) -> list[tuple[int, int]]:
    """The size (H,W) of the image of `size` at each of the scales."""
    sizes = []
    for scale in config.scales:
        factor = scale
        if config.fit is not None:
            bounds = [int(side * scale) for side in config.fit]
            factor = min(max(bounds) / max(size), min(bounds) / min(size))
        sizes.append((max(1, int(size[0] * factor + 0.5)), max(1, int(size[1] * factor + 0.5))))
    return sizes


def _pixels(image: Tensor, size: tuple[int, int], mirrored: bool, config: InferenceConfig) -> Tensor:
    """The view of `size` of images (uint8): uint8 as long as nothing is resized, else float32 in [0,1]."""
    if tuple(image.shape[-2:]) != size:
        resized = F.interpolate(as_input(image), size, mode="bilinear", align_corners=config.align_images)
        image = resized.contiguous(memory_format=torch.channels_last)
    return image.flip(-1) if mirrored else image
