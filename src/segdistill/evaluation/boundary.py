"""How well a prediction follows the boundaries between classes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from segdistill.data.base import IGNORE_INDEX
from segdistill.evaluation.metrics import Absent, mean, percent, scores_of
from segdistill.evaluation.settings import MetricsConfig
from segdistill.windows import window

_BITS = 30  # classes in one int32 word
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
            self._add(_Neighbourhood(known), _Neighbourhood(said), band, tolerance, border, counted)

    def _add(
        self, known: _Neighbourhood, said: _Neighbourhood, band: int, tolerance: int, border: Tensor, inside: slice
    ) -> None:
        label, prediction = known.label, said.label
        contour, said_contour = known.mixed(1), said.mixed(1)
        found = _same_class_near(label, contour, prediction, said_contour, tolerance, self.num_classes)
        right = _same_class_near(prediction, said_contour, label, contour, tolerance, self.num_classes)
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
        by_label = _flags(label, bands, both, contour, found)[:, inside]
        by_prediction = _flags(prediction, said_bands, said_contour, right)[:, inside]
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


class _Neighbourhood:
    """The lowest and highest class in windows around the pixels of label maps (N,H,W), uint8; void is in no window.

    Windows grow from one radius to the next, so radii are asked for in rising order.
    """

    def __init__(self, label: Tensor) -> None:
        self.label = label
        self._radius = 0
        self._low = label
        self._high = torch.where(label == IGNORE_INDEX, label, IGNORE_INDEX - 1 - label)  # the highest is its lowest

    def mixed(self, radius: int) -> Tensor:
        """1 where the window of that radius holds more than one class, else 0; (N,H,W), uint8."""
        if radius > self._radius:
            more = radius - self._radius
            self._low = window(self._low, more, torch.minimum, IGNORE_INDEX)
            self._high = window(self._high, more, torch.minimum, IGNORE_INDEX)
            self._radius = radius
        # Zero only if they are equal, or all is void: 255 + 255 is 254, too.
        return (self._low + self._high).bitwise_xor_(IGNORE_INDEX - 1).clamp_max_(1)


def _same_class_near(of: Tensor, at: Tensor, other: Tensor, other_at: Tensor, radius: int, num_classes: int) -> Tensor:
    """1 where a pixel `at` has in its window a pixel of its class in `other` that is `other_at`, else 0.

    of, other: classes (N,H,W), void wherever a pixel is void; at, other_at: 0 or 1. All uint8.
    30 classes share an int32 a pixel, so a window's OR looks for all of them at once.
    """
    taken = other | (other_at - 1)  # void, all bits set, where it is not `other_at`
    found = torch.zeros_like(at)
    for first in range(0, num_classes, _BITS):
        near = window(_bit(taken, first), radius, torch.bitwise_or, 0)
        found |= (near & _bit(of, first)).clamp_max_(1).byte()
    return found & at


def _bit(classes: Tensor, first: int) -> Tensor:
    """1 << c for c = 1 .. 30 of classes `first` .. `first` + 29, 0 for others; int32."""
    place = (classes.int() - (first - 1)).clamp_(0, _BITS + 1)
    return torch.bitwise_left_shift(torch.ones_like(place), place).bitwise_and_((1 << _BITS + 1) - 2)


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
