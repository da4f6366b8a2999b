"""From an image to class indices; the one path of validation, evaluation and prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput, resize
from segdistill.evaluation.finite import finite_scores
from segdistill.evaluation.inference.cells import first_zeros, index_type, largest
from segdistill.evaluation.inference.exported import classes_of_file, divisor_of, gives_classes
from segdistill.evaluation.inference.padding import bordered
from segdistill.evaluation.inference.sliding import SlidingScores, panels
from segdistill.evaluation.inference.taps import Taps, lift, taps
from segdistill.evaluation.inference.views import Size, View, view_sizes
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.network import as_input

_CACHED = 1 << 17  # scores in a strip: on a processor about what its cache holds


@torch.no_grad()
def predict_scores(network: nn.Module, image: Tensor, names: Sequence[str], source: str) -> Tensor:
    """Class scores of images that go through the network whole; sets evaluation mode.

    Args:
        network: returns `SegOutput`.
        image: uint8 (N,3,H,W).
        names: of the N images, for the message.
        source: the network in words, or its weight file, for the message.

    Returns:
        Scores (N,K,H,W), float32.

    Raises:
        NonFiniteScoresError: a score is NaN or infinite.
    """
    network.eval()
    logits = finite_scores(network, names, source)(as_input(image))
    return resize(logits.float(), (image.shape[-2], image.shape[-1]))


@torch.no_grad()
def predict_classes(network: nn.Module, image: Tensor) -> Tensor:
    """Class indices of whole images in torch's own operations: what costs count. A NaN counts as the largest score.

    Args:
        network: returns `SegOutput`.
        image: uint8 (N,3,H,W).

    Returns:
        Class indices (N,H,W), int64.
    """
    network.eval()
    if gives_classes(network):
        return network.classes_of(image).long()
    output: SegOutput = network(as_input(image))
    return resize(output.logits.float(), (image.shape[-2], image.shape[-1])).argmax(1)


@dataclass(frozen=True)
class Predicted:
    """What a network says about N images.

    Attributes:
        classes: indices (N,H,W), uint8 if they fit.
        confidence: (N,H,W), the probability of that class; None if not asked for.
    """

    classes: Tensor
    confidence: Tensor | None


@torch.no_grad()
def infer(
    network: nn.Module,
    image: Tensor,
    config: InferenceConfig,
    *,
    confidence: bool = False,
    on_pixels: Callable[[int], object] = lambda _: None,
    names: Sequence[str] = (),
    source: str = "The network",
) -> Predicted:
    """Classes of images as the recipe's section `inference` says; sets evaluation mode.

    Where the classes of single whole views are all that is asked for, only the scores of classes that can win are made
    (`cells.py`). Else scores come a strip of rows at a time, so that nothing of the size N K H W is held, and on a
    processor none of them leaves its cache.

    Args:
        network: returns `SegOutput`.
        image: uint8 (N,3,H,W).
        config: the protocol.
        confidence: whether the probability of each pixel's class is asked for.
        on_pixels: called with the number of pixels whenever some are done.
        names: of the N images, for the message of an error.
        source: the network in words, or its weight file, for the message of an error.

    Returns:
        Classes (N,H,W) and, if asked for, their probabilities.

    Raises:
        NonFiniteScoresError: the network's scores of an image are NaN or infinite.
    """
    network.eval()
    height, width = image.shape[-2:]
    wide = image if config.mode == "slide" else bordered(image, divisor_of(network, config))
    if wide.shape != image.shape:
        done = infer(network, wide, config, confidence=confidence, names=names, source=source)
        on_pixels(len(image) * height * width)
        probabilities = None if done.confidence is None else done.confidence[..., :height, :width]
        return Predicted(done.classes[..., :height, :width], probabilities)
    if gives_classes(network):
        preds = classes_of_file(network, image, config, confidence)
        on_pixels(preds.numel())
        return Predicted(preds, None)
    n = len(image)
    classes, probabilities = None, None
    names = names or [f"number {i + 1}" for i in range(n)]
    for i, left, right, paths in _paths(network, image, config, names, source):
        for top, rows, probability in _classes(paths, (height, right - left), config, confidence):
            if classes is None:
                classes = torch.empty(n, height, width, dtype=rows.dtype, device=rows.device)
                probabilities = torch.empty(n, height, width, device=rows.device) if confidence else None
            region = i, slice(top, top + len(rows)), slice(left, right)
            classes[region] = rows
            if probabilities is not None and probability is not None:
                probabilities[region] = probability
            on_pixels(rows.numel())
    assert classes is not None
    return Predicted(classes, probabilities)


def _classes(
    paths: list[_Path], size: Size, config: InferenceConfig, confidence: bool
) -> Iterator[tuple[int, Tensor, Tensor | None]]:
    """(top row, classes (R,W) of the rows from it on, their probabilities (R,W) if asked for), strip by strip.

    `size` (H,W) is what the paths give.
    """
    if len(paths) == 1 and paths[0].direct is not None and not confidence:
        classes = largest(paths[0].direct, size, align_corners=config.align_corners)
        if classes is not None:
            yield 0, classes, None
            return
    probable = config.average == "probabilities" and len(paths) > 1
    for top, scores in _strips(paths, size, config, probable):
        best = scores.amax(1)
        below = scores - best[:, None]
        probability = None
        if confidence:  # softmax at its largest is 1 / sum of exp(x - max)
            probability = best if probable else 1 / below.exp().sum(1)
        yield top, first_zeros(below).to(index_type(below.shape[1])), probability


class _View(Protocol):
    """The scores of one view of one image on a grid of `height` rows; rows come as (R,K,w), asked for in order."""

    height: int

    def rows(self, first: int, last: int) -> Tensor: ...


class _Whole:
    """Logits (K,h,w) of a view that went through the network whole; its columns are widened at once if that is not
    too much."""

    def __init__(self, logits: Tensor, widths: tuple[int, ...], config: InferenceConfig) -> None:
        self.height = logits.shape[1]
        self._logits, self._widths, self._config = logits, widths, config
        self._wide: Tensor | None = None

    def rows(self, first: int, last: int) -> Tensor:
        if len(self._logits) * self.height * self._widths[-1] > self._config.max_elements:
            return self._widen(first, last)
        if self._wide is None:
            self._wide = self._widen(0, self.height)
        return self._wide[first:last]

    def _widen(self, first: int, last: int) -> Tensor:
        return _widened(self._logits[:, first:last].transpose(0, 1), self._widths, self._config.align_corners)


@dataclass(frozen=True)
class _Path:
    """From a view's scores to those of the image: rows go to each of `heights` in turn, columns to each of `widths`.

    columns: the view's columns are part of it, and these make a part of the image of them. direct: the view's logits
    (K,h,w), if they are coarse and one bilinear step is all between them and the image.
    """

    view: _View
    heights: tuple[int, ...]
    widths: tuple[int, ...]
    mirrored: bool
    align_corners: bool
    columns: Taps | None = None
    direct: Tensor | None = None

    def strip(self, top: int, bottom: int) -> Tensor:
        """Scores (R,K,W) of the image's rows `top` .. `bottom` - 1."""
        # Two steps, as 4 rows -> 8 -> 12 for the image's rows 6 and 7: backwards, those two read rows 3 to 5 of the 8,
        # which read rows 1 to 3 of the 4. Only these are asked of the view; forwards they become 3 rows, then 2.
        lifts = []
        first, last = top, bottom
        steps = [self.view.height, *self.heights]
        for source, target in reversed(list(pairwise(steps))):
            if source != target:
                matrix, first, last = lift(source, target, first, last, self.align_corners)
                lifts.append(matrix)
        scores = _widened(self.view.rows(first, last), self.widths, self.align_corners)
        if self.columns is not None:
            scores = self.columns.of(scores, -1)
        for matrix in reversed(lifts):
            scores = (matrix.to(scores) @ scores.flatten(1)).view(-1, *scores.shape[1:])
        return scores.flip(-1) if self.mirrored else scores


def _widened(rows: Tensor, widths: tuple[int, ...], align_corners: bool) -> Tensor:
    """Rows (R,K,w) as (R,K,W)."""
    for width in widths:
        rows = resize(rows[None], (rows.shape[1], width), align_corners=align_corners)[0]
    return rows


def _strips(paths: list[_Path], size: Size, config: InferenceConfig, probable: bool) -> Iterator[tuple[int, Tensor]]:
    """The scores of an image, strip by strip: (top row, scores (R,K,W), or their mean probabilities if `probable`)."""
    height, width = size
    first = paths[0].view.rows(0, 1)
    most = config.max_elements if first.is_cuda else min(_CACHED, config.max_elements)
    tall = max(1, most // (first.shape[1] * width))
    for top in range(0, height, tall):
        strips = [path.strip(top, min(top + tall, height)) for path in paths]
        scores = strips[0]
        if len(paths) > 1:
            scores = sum((strip.softmax(1) if probable else strip for strip in strips), torch.zeros_like(scores))
            scores /= len(paths)
        yield top, scores


def _paths(
    network: nn.Module, image: Tensor, config: InferenceConfig, names: Sequence[str], source: str
) -> Iterator[tuple[int, int, int, list[_Path]]]:
    """For each image, panel by panel: its number, the first column, the one behind the last, the paths of its views.

    Whole views of all images go through the network together.
    """
    size = (image.shape[-2], image.shape[-1])
    sides = (False, True) if config.flip else (False,)
    views = [(at, mirrored) for at in view_sizes(size, config) for mirrored in sides]
    if config.mode == "whole":
        scores_of = finite_scores(network, names, source)
        whole = [scores_of(View(image, *view, config).whole()) for view in views]
        for i in range(len(image)):
            paths = [_whole(maps[i].float(), *view, size, config) for maps, view in zip(whole, views, strict=True)]
            yield i, 0, size[1], paths
        return
    for i in range(len(image)):
        seen = [View(image[i : i + 1], *view, config) for view in views]
        scores_of = finite_scores(network, names[i : i + 1], source)
        number = panels(seen, scores_of, size[1], config)
        for left, right in pairwise(size[1] * step // number for step in range(number + 1)):
            yield i, left, right, [_slid(view, scores_of, size, (left, right), config) for view in seen]


def _slid(
    view: View, scores_of: Callable[[Tensor], Tensor], size: Size, panel: tuple[int, int], config: InferenceConfig
) -> _Path:
    """The path of a view in windows to columns `panel` of an image of `size`."""
    (height, width), (left, right) = size, panel
    if view.mirrored:
        left, right = width - right, width - left
    columns: Taps | None = None
    widths: tuple[int, ...] = ()
    if right - left == width:  # torch's own resizing is faster, but can't make a part
        left, right, widths = 0, view.size[1], (width,)
    elif view.size[1] != width:
        columns = taps(view.size[1], width, left, right, align_corners=config.align_corners)
        left, right = columns.start, columns.stop
    windows = SlidingScores(view, scores_of, config, left, right)
    return _Path(windows, (height,), widths, view.mirrored, config.align_corners, columns)


def _whole(logits: Tensor, at: Size, mirrored: bool, size: Size, config: InferenceConfig) -> _Path:
    """The path of logits (K,h,w) of a view of size `at`."""
    steps = (at, size) if config.upsample == "stepwise" and at != size else (size,)
    heights, widths = tuple(height for height, _ in steps), tuple(width for _, width in steps)
    coarse = 4 * logits[0].numel() <= size[0] * size[1] and logits.numel() <= config.max_elements
    direct = logits if coarse and len(steps) == 1 and not mirrored else None
    return _Path(_Whole(logits, widths, config), heights, (), mirrored, config.align_corners, direct=direct)
