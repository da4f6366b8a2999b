"""How well a prediction follows the boundaries between classes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.data.base import IGNORE_INDEX
from segdistill.evaluation.metrics import Absent, mean, percent, scores_of
from segdistill.evaluation.settings import MetricsConfig
from segdistill.windows import inner_window

_PIXELS = 1 << 20  # worked on at once


@dataclass(frozen=True)
class BoundaryScores:
    """In percent, over a split. Void pixels count in none of these, and a border with void is no boundary.

    A window of radius r is (2r+1)^2 pixels. The band of class c of a map: its pixels of class c whose window of radius
    d holds another class or reaches over the image's border; d = max(1, round(0.02 * diagonal)).
    boundary_iou: of each class, pixels in its bands of label and prediction alike / pixels in either, both summed over
    all images (Cheng et al., arXiv 2103.16562, where each object has one); boundary_miou is the mean over classes.
    boundary_f1: of each class, 2PR / (P + R); its contour is its pixels beside another class, P the share of the
    prediction's contour that has the label's contour of that class in its window of radius `tolerance`, R the share of
    the label's that has the prediction's; boundary_mf1 is the mean over classes.
    trimap_miou: for each radius r, the mIoU over pixels whose window in the label holds several classes. edge_miou:
    the same for `edge_radius`, BPKD's edge; body_miou: over all other pixels.
    """

    boundary_miou: float
    boundary_mf1: float
    edge_miou: float
    body_miou: float
    trimap_miou: dict[int, float]
    boundary_iou: tuple[float, ...]
    boundary_f1: tuple[float, ...]


class BoundaryCounts:
    """The integers that `BoundaryScores` are made of; the sum of several processes' is that of all their images."""

    def __init__(self, num_classes: int, config: MetricsConfig, device: torch.device | str = "cpu") -> None:
        self.num_classes, self.config = num_classes, config
        self.radii = sorted({*config.trimap_radii, config.edge_radius})

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.int64, device=device)

        self.zones = zeros(len(self.radii) + 1, num_classes, num_classes)
        """Label against prediction in the trimap of each radius without those of smaller ones, and in the rest."""
        self.by_label = zeros(num_classes, 16)
        """Pixels of a label class by four bits: in its band, and the prediction's; on its contour, and it is found."""
        self.by_prediction = zeros(num_classes, 8)
        """Pixels of a predicted class by three bits: in its band; on its contour, and that is right."""

    def tensors(self) -> list[Tensor]:
        """All counts."""
        return [self.zones, self.by_label, self.by_prediction]

    def update(self, predicted: Tensor, label: Tensor) -> None:
        """Add predictions and labels (N,H,W), uint8; images of one size, huge ones row by row."""
        height, width = label.shape[-2:]
        diagonal = math.hypot(height, width)
        band = max(1, round(self.config.boundary_ratio * diagonal))
        near = self.config.tolerance
        tolerance = max(1, round(near * diagonal if near < 1 else near))
        reach = max(band, tolerance + 1, self.radii[-1])
        for seen, counted in _pieces(height, reach, max(1, _PIXELS // (len(label) * width))):
            known = label[:, seen]
            said = torch.where(known == IGNORE_INDEX, known, predicted[:, seen].to(known.dtype))
            border = _outermost(height, width, band, seen, label.device)
            self._add(
                _Neighbourhood(known, max(band, self.radii[-1])),
                _Neighbourhood(said, band),
                band,
                tolerance,
                border,
                counted,
            )

    def _add(
        self, known: _Neighbourhood, said: _Neighbourhood, band: int, tolerance: int, border: Tensor, inside: slice
    ) -> None:
        label, prediction = known.label, said.label
        contour, said_contour = known.mixed(1), said.mixed(1)
        # A byte less one is void where it was 0, and changes no class where it was 1.
        found, right = _matched(label | (contour - 1), prediction | (said_contour - 1), tolerance)
        zone = torch.full_like(label, len(self.radii))
        bands: Tensor | None = None
        for radius in sorted({*self.radii, band}):
            mixed = known.mixed(radius)
            if radius == band:
                bands = mixed | border
            if radius in self.radii:
                zone -= mixed
        assert bands is not None
        said_bands = said.mixed(band) | border
        both = bands & said_bands & (label == prediction).byte()
        by_label = _flags(label, bands, both, contour, contour & found)[:, inside]
        by_prediction = _flags(prediction, said_bands, said_contour, said_contour & right)[:, inside]
        self.by_label += torch.bincount(by_label.flatten(), minlength=256 * 16).view(256, 16)[: self.num_classes]
        counted = torch.bincount(by_prediction.flatten(), minlength=256 * 8).view(256, 8)
        self.by_prediction += counted[: self.num_classes]
        self._add_zones(label[:, inside], prediction[:, inside], zone[:, inside])

    def _add_zones(self, label: Tensor, prediction: Tensor, zone: Tensor) -> None:
        classes = self.num_classes
        places = (zone.int() * (classes + 1) + label.clamp_max(classes)) * (classes + 1) + prediction.clamp_max(classes)
        counts = torch.bincount(places.flatten(), minlength=len(self.zones) * (classes + 1) ** 2)
        self.zones += counts.view(-1, classes + 1, classes + 1)[:, :classes, :classes]

    def scores(self, absent: Absent = "nan") -> BoundaryScores:
        """The metrics of everything counted so far."""
        trimaps = self.zones.cumsum(0)
        miou = {radius: scores_of(matrix, absent).miou for radius, matrix in zip(self.radii, trimaps, strict=False)}
        edge = self.radii.index(self.config.edge_radius)
        body = scores_of(trimaps[-1] - trimaps[edge], absent)
        bands, both, contour, found = _unflag(self.by_label)
        said_bands, said_contour, right = _unflag(self.by_prediction)
        iou = both / (bands + said_bands - both)
        # 2PR / (P + R) with P = right / said, R = found / contour: 0 / 0 only where neither map has the class's contour
        precision, recall = right / said_contour, found / contour
        f1 = 2 * precision * recall / (precision + recall)
        f1 = torch.where((contour + said_contour > 0) & f1.isnan(), 0.0, f1)
        return BoundaryScores(
            boundary_miou=mean(iou, absent),
            boundary_mf1=mean(f1, absent),
            edge_miou=miou[self.config.edge_radius],
            body_miou=body.miou,
            trimap_miou={radius: miou[radius] for radius in sorted(set(self.config.trimap_radii))},
            boundary_iou=percent(iou),
            boundary_f1=percent(f1),
        )


def edge_region(label: Tensor, radius: int) -> Tensor:
    """Where a window of that radius holds more than one class; label (N,H,W) uint8 -> bool."""
    return _Neighbourhood(label, radius).mixed(radius).bool()


class _Neighbourhood:
    """The lowest and highest class in windows around the pixels of label maps (N,H,W), uint8; void is in no window.

    Windows grow from one radius to the next, so radii are asked for in rising order, up to `reach`.
    """

    def __init__(self, label: Tensor, reach: int) -> None:
        self.label = label
        self._left = reach
        highest = torch.where(label == IGNORE_INDEX, label, IGNORE_INDEX - 1 - label)  # lowest where the class is high
        self._extremes = F.pad(torch.stack([label, highest]), (reach,) * 4, value=IGNORE_INDEX)
        self._reach = reach

    def mixed(self, radius: int) -> Tensor:
        """1 where the window of that radius holds more than one class, else 0; (N,H,W), uint8."""
        more = radius - (self._reach - self._left)
        if more > 0:
            self._extremes = inner_window(self._extremes, more, torch.minimum)
            self._left -= more
        height, width = self.label.shape[-2:]
        inside = self._extremes[..., self._left : self._left + height, self._left : self._left + width]
        # Zero only if they are equal, or all is void: 255 + 255 is 254, too.
        return (inside[0] + inside[1]).bitwise_xor_(IGNORE_INDEX - 1).clamp_max_(1)


def _matched(one: Tensor, other: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """For maps (N,H,W) of classes on contours, void elsewhere: 1 where the other map has the pixel's class in the
    pixel's window, else 0; anything off the contours. Both ways, uint8.

    A shift of one map against the other tells both at once; bytes are compared so fast that (2 radius + 1)^2 shifts
    cost less than windows over a bit for each class.
    """
    height, width = one.shape[-2:]
    found, right, same = (torch.zeros_like(one, dtype=torch.bool) for _ in range(3))
    for down in range(-min(radius, height - 1), min(radius, height - 1) + 1):
        for across in range(-min(radius, width - 1), min(radius, width - 1) + 1):
            y, x = max(0, -down), max(0, -across)
            here = (..., slice(y, height - max(0, down)), slice(x, width - max(0, across)))
            there = (..., slice(y + down, height + min(0, down)), slice(x + across, width + min(0, across)))
            equal = torch.eq(one[here], other[there], out=same[here])
            found[here].bitwise_or_(equal)
            right[there].bitwise_or_(equal)
    return found.view(torch.uint8), right.view(torch.uint8)


def _flags(label: Tensor, *bits: Tensor) -> Tensor:
    """Class and bits in one number: label * 2^n + bits, the first the lowest."""
    flags = bits[0].clone()
    for place, bit in enumerate(bits[1:], start=1):
        flags |= bit << place
    return (label.short() << len(bits)) | flags


def _unflag(counts: Tensor) -> list[Tensor]:
    """From counts (K,2^n) by flags, how often each of the n bits was set: n of (K,), float64."""
    numbers = torch.arange(counts.shape[1], device=counts.device)
    places = range(counts.shape[1].bit_length() - 1)
    return [counts[:, (numbers >> place & 1).bool()].sum(1).double() for place in places]


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
