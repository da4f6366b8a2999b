"""How well a prediction follows the boundaries between classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.windows import inner_window
from segdistill.evaluation.metrics import Absent, iou_of, mean, percent
from segdistill.evaluation.settings import MetricsConfig

_PIXELS = 1 << 20  # worked on at once
_GATHERED = 1 << 20  # bytes at a time, of pixels whose windows hold many classes


@dataclass(frozen=True)
class BoundaryScores:
    """How well a prediction follows boundaries, over a split. Void pixels count in none, and a border with void is no
    boundary.

    A window of radius r is (2r+1)^2 pixels. The band of class c of a map: its pixels of class c whose window of
    radius d holds another class or reaches over the image's border; d = max(1, round(boundary_ratio * diagonal)). The
    contour of class c: its pixels beside another class. All numbers are percent; a mean is over classes.

    Attributes:
        boundary_miou: the mean of `boundary_iou`.
        boundary_mf1: the mean of `boundary_f1`.
        edge_miou: the mIoU over pixels whose window of radius `edge_radius` in the label holds several classes: BPKD's
            edge.
        body_miou: the mIoU over all other pixels.
        trimap_miou: for each radius r, the mIoU over pixels whose window in the label holds several classes.
        boundary_iou: of each class, pixels in its bands of label and prediction alike / pixels in either, both summed
            over all images (Cheng et al., arXiv 2103.16562, where each object has one).
        boundary_f1: of each class, 2PR / (P + R); P is the share of the prediction's contour that has the label's
            contour of that class in its window of radius `tolerance`, R the share of the label's that has the
            prediction's.
    """

    boundary_miou: float
    boundary_mf1: float
    edge_miou: float
    body_miou: float
    trimap_miou: dict[int, float]
    boundary_iou: tuple[float, ...]
    boundary_f1: tuple[float, ...]


class BoundaryCounts:
    """The integers that `BoundaryScores` are made of; the sum of several processes' is that of all their images.

    Args:
        num_classes: K.
        config: radii, widths and tolerance.
        device: where the counts are.
    """

    def __init__(self, num_classes: int, config: MetricsConfig, device: torch.device | str = "cpu") -> None:
        self.num_classes, self.config = num_classes, config
        self.radii = sorted({*config.trimap_radii, config.edge_radius})

        zones = 1 << len(self.radii).bit_length()  # a power of two, for `_count`; those beyond the rest stay empty
        self.by_label = torch.zeros(num_classes, zones, 32, dtype=torch.int64, device=device)
        """Pixels of a label class by the smallest trimap they are in, or none, and five bits: predicted right; in the
        class's band, and in the prediction's, too; on its contour, and it is found."""
        self.by_prediction = torch.zeros(num_classes, zones, 8, dtype=torch.int64, device=device)
        """Pixels of a predicted class by that trimap and three bits: in its band; on its contour, and that is right."""

    def tensors(self) -> list[Tensor]:
        """All counts."""
        return [self.by_label, self.by_prediction]

    def update(self, predicted: Tensor, label: Tensor) -> None:
        """Add images of one size; huge ones are worked on in rows.

        Args:
            predicted: class indices (N,H,W), uint8.
            label: class indices or void (N,H,W), uint8.
        """
        height, width = label.shape[-2:]
        diagonal = math.hypot(height, width)
        band = max(1, round(self.config.boundary_ratio * diagonal))
        near = self.config.tolerance
        tolerance = max(1, round(near * diagonal if near < 1 else near))
        reach = max(band, tolerance + 1, self.radii[-1])
        for seen, counted in _pieces(height, reach, max(1, _PIXELS // (len(label) * width))):
            target = label[:, seen]
            void = (target + 1).clamp_max_(1) - 1  # 255 where it is; bytes wrap around, and are fast so
            preds = predicted[:, seen].to(target.dtype) | void
            border = _outermost(height, width, band, seen, label.device)
            self._add(
                _Neighbourhood(target, max(band, self.radii[-1])),
                _Neighbourhood(preds, band),
                band,
                tolerance,
                border,
                counted,
            )

    def _add(
        self, target: _Neighbourhood, preds: _Neighbourhood, band: int, tolerance: int, border: Tensor, inside: slice
    ) -> None:
        label, prediction = target.label, preds.label
        contour, preds_contour = target.mixed(1), preds.mixed(1)
        zone = torch.full_like(label, len(self.radii))
        bands: Tensor | None = None
        for radius in sorted({*self.radii, band}):
            mixed = target.mixed(radius)
            if radius == band:
                bands = mixed | border
            if radius in self.radii:
                zone -= mixed
        assert bands is not None
        preds_bands = preds.mixed(band) | border
        hit = (label == prediction).view(torch.uint8)
        recalled = _matched(label, contour, prediction, preds_contour, tolerance)
        precise = _matched(prediction, preds_contour, label, contour, tolerance)
        _count(self.by_label, label, inside, zone, hit, bands, bands & preds_bands & hit, contour, recalled)
        _count(self.by_prediction, prediction, inside, zone, preds_bands, preds_contour, precise)

    def scores(self, absent: Absent = "nan", ignore: Sequence[int] = ()) -> BoundaryScores:
        """The metrics of everything counted so far.

        Args:
            absent: what a class counts for in the means that occurs nowhere: "nan" leaves it out, "zero" counts 0.
            ignore: indices of classes that are no part of the means.

        Returns:
            Scores in percent.
        """
        _, bands, both, contour, recalled = _unflag(self.by_label.sum(1))
        preds_bands, preds_contour, precise = _unflag(self.by_prediction.sum(1))
        # By class, of each trimap without those of smaller radius, and of the rest; the first bit of a label is a hit.
        zones = torch.stack([self.by_label[..., 1::2].sum(2), self.by_label.sum(2), self.by_prediction.sum(2)]).double()
        trimaps = zones.cumsum(2).unbind(2)
        miou = {
            radius: mean(iou_of(*counts), absent, ignore) for radius, counts in zip(self.radii, trimaps, strict=False)
        }
        body = trimaps[-1] - trimaps[self.radii.index(self.config.edge_radius)]
        iou = both / (bands + preds_bands - both)
        # 2PR / (P + R), P = precise / preds_contour, R = recalled / contour: 0 / 0 where neither map has the contour
        precision, recall = precise / preds_contour, recalled / contour
        f1 = 2 * precision * recall / (precision + recall)
        f1 = torch.where((contour + preds_contour > 0) & f1.isnan(), 0.0, f1)
        return BoundaryScores(
            boundary_miou=mean(iou, absent, ignore),
            boundary_mf1=mean(f1, absent, ignore),
            edge_miou=miou[self.config.edge_radius],
            body_miou=mean(iou_of(*body), absent, ignore),
            trimap_miou={radius: miou[radius] for radius in sorted(set(self.config.trimap_radii))},
            boundary_iou=percent(iou),
            boundary_f1=percent(f1),
        )


def edge_region(label: Tensor, radius: int) -> Tensor:
    """Where a window holds more than one class; void counts for none.

    Args:
        label: class indices or void (N,H,W), uint8.
        radius: of the window of (2 radius + 1)^2 pixels.

    Returns:
        Bool (N,H,W).
    """
    return _Neighbourhood(label, radius).mixed(radius).bool()


class _Neighbourhood:
    """The lowest and highest class in windows around the pixels of label maps (N,H,W), uint8; void is in no window.

    Windows grow from one radius to the next, so radii are asked for in rising order, up to `reach`.
    """

    def __init__(self, label: Tensor, reach: int) -> None:
        self.label = label
        self._left = reach
        highest = IGNORE_INDEX - 1 - label  # lowest where the class is high; of void, void: bytes wrap around
        self._extremes = F.pad(torch.stack([label, highest]), (reach,) * 4, value=IGNORE_INDEX)
        self._reach = reach

    def extremes(self, radius: int) -> tuple[Tensor, Tensor]:
        """Of the window of that radius the lowest class, and 254 less the highest; both void if it holds none."""
        more = radius - (self._reach - self._left)
        if more > 0:
            self._extremes = inner_window(self._extremes, more, torch.minimum)
            self._left -= more
        height, width = self.label.shape[-2:]
        lowest, highest = self._extremes[..., self._left : self._left + height, self._left : self._left + width]
        return lowest, highest

    def mixed(self, radius: int) -> Tensor:
        """1 where the window of that radius holds more than one class, else 0; (N,H,W), uint8."""
        lowest, highest = self.extremes(radius)
        # Zero only if they are equal, or all is void: 255 + 255 is 254, too.
        return (lowest + highest).bitwise_xor_(IGNORE_INDEX - 1).clamp_max_(1)


def _matched(label: Tensor, contour: Tensor, other: Tensor, other_contour: Tensor, radius: int) -> Tensor:
    """1 where a pixel of a label map is on its contour and its window holds the other map's contour of its class.

    All (N,H,W), uint8. Nearly everywhere a window holds contours of two classes at most, the lowest and the highest;
    pixels of further classes are looked at one by one.
    """
    lines = other | (other_contour - 1)  # void off the contours: a byte less one is void where it was 0
    lowest, highest = _Neighbourhood(lines, radius).extremes(radius)
    one = label * contour  # 0 is never between
    mirrored = IGNORE_INDEX - 1 - one
    hits = ((one == lowest) | (mirrored == highest)).view(torch.uint8)
    between = ((one > lowest) & (mirrored > highest)).flatten().nonzero()[:, 0]
    if len(between):
        around = F.pad(lines, (radius,) * 4, value=IGNORE_INDEX)
        height, width = one.shape[-2:]
        side = torch.arange(2 * radius + 1, device=one.device)
        window = (side[:, None] * around.shape[-1] + side).flatten()
        for chunk in between.split(max(1, _GATHERED // len(window))):
            row = chunk // width  # of all images; those before it are padded above and below
            first = (row + row // height * 2 * radius) * around.shape[-1] + chunk % width
            near = around.flatten()[first[:, None] + window]
            hits.view(-1)[chunk] = (near == one.flatten()[chunk][:, None]).any(1).byte()
    return hits & contour


def _count(counts: Tensor, classes: Tensor, inside: slice, zone: Tensor, *bits: Tensor) -> None:
    """Add to counts (K,Z,2^n) the pixels (N,H,W) of these rows by class, zone and n bits, the first the lowest."""
    number = counts[0].numel()
    flags = zone[:, inside].to(torch.uint8 if number <= 256 else torch.int32)
    for bit in reversed(bits):
        flags = (flags << 1) | bit[:, inside]
    every = (IGNORE_INDEX + 1) * number
    cells = classes[:, inside].to(torch.int16 if every <= 1 << 15 else torch.int32)
    cells = (cells << number.bit_length() - 1).bitwise_or_(flags)
    counted = torch.bincount(cells.flatten(), minlength=every)
    counts += counted.view(-1, *counts.shape[1:])[: len(counts)]


def _unflag(counts: Tensor) -> list[Tensor]:
    """From counts (K,2^n) by flags, how often each of the n bits was set: n of (K,), float64."""
    numbers = torch.arange(counts.shape[1], device=counts.device)
    bits = range(counts.shape[1].bit_length() - 1)
    return [counts[:, (numbers >> bit & 1).bool()].sum(1).double() for bit in bits]


def _outermost(height: int, width: int, depth: int, rows: slice, device: torch.device) -> Tensor:
    """1 where a pixel of these rows of an image has beyond its border in its window of radius `depth`, else 0."""
    y, x = (torch.arange(length, device=device) for length in (height, width))
    outer_rows, outer_columns = ((at < depth) | (at >= len(at) - depth) for at in (y, x))
    return (outer_rows[rows, None] | outer_columns).byte()


def _pieces(height: int, reach: int, rows: int) -> Iterator[tuple[slice, slice]]:
    """Rows of an image a piece at a time: those to look at, and which of them to count, `reach` rows from the cut."""
    if rows >= height:
        rows = height
    else:
        rows = max(rows, 4 * reach)
    for first in range(0, height, rows):
        last = min(first + rows, height)
        top = max(0, first - reach)
        yield slice(top, min(height, last + reach)), slice(first - top, last - top)
