"""Boundary quality against class-by-class morphology."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from references import VOID, boundary_scores, nanmean, plain_scores, trimap

from segdistill.evaluation import boundary
from segdistill.evaluation.boundary import BoundaryCounts
from segdistill.evaluation.settings import MetricsConfig

Maps = tuple[np.ndarray, np.ndarray]


def blobs(seed: int, classes: int, size: tuple[int, int], *, void: float = 0.1) -> Maps:
    """A prediction and a label of patches of several pixels, with patches of void."""
    rng = np.random.default_rng(seed)

    def patches(values: np.ndarray, cell: int) -> np.ndarray:
        return np.kron(values, np.ones((cell, cell), dtype=values.dtype))[: size[0], : size[1]]

    cells = tuple(-(-side // 7) for side in size)
    label = patches(rng.integers(0, classes, cells), 7)
    predicted = np.where(patches(rng.random(cells), 7) < 0.7, np.roll(label, (1, 2), (0, 1)), rng.integers(0, classes))
    label = np.where(patches(rng.random(cells), 7) < void, VOID, label)
    return predicted.astype(np.uint8), label.astype(np.uint8)


def counted(pairs: list[Maps], classes: int, config: MetricsConfig) -> BoundaryCounts:
    counts = BoundaryCounts(classes, config)
    for predicted, label in pairs:
        counts.update(torch.from_numpy(predicted)[None], torch.from_numpy(label)[None])
    return counts


PAIRS = {
    "patches": ([blobs(0, 5, (60, 81)), blobs(1, 5, (45, 33))], 5),
    "more classes than a word has bits": ([blobs(2, 70, (64, 90)), blobs(3, 70, (64, 90), void=0.4)], 70),
    "noise": ([(np.random.default_rng(s).integers(0, 4, (23, 31), dtype=np.uint8),) * 2 for s in (0, 1)], 4),
    "all void": ([(np.zeros((9, 9), np.uint8), np.full((9, 9), VOID, np.uint8))], 2),
    "one pixel": ([(np.ones((1, 1), np.uint8), np.ones((1, 1), np.uint8))], 2),
    "one class, missed": ([(np.ones((20, 30), np.uint8), np.zeros((20, 30), np.uint8))], 3),
    "the highest class": ([(np.full((8, 9), 254, np.uint8), np.where(np.eye(8, 9), 0, 254).astype(np.uint8))], 255),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("ratio", "tolerance"), [(0.02, 3), (0.1, 0.04), (0.005, 1)])
def test_boundary_iou_and_f1_are_those_of_their_definitions(name: str, ratio: float, tolerance: float) -> None:
    pairs, classes = PAIRS[name]
    scores = counted(pairs, classes, MetricsConfig(boundary_ratio=ratio, tolerance=tolerance)).scores()
    iou, f1 = boundary_scores(pairs, classes, ratio=ratio, tolerance=tolerance)
    np.testing.assert_allclose(scores.boundary_iou, iou, rtol=1e-12)
    np.testing.assert_allclose(scores.boundary_f1, f1, rtol=1e-12)
    assert scores.boundary_miou == pytest.approx(nanmean(iou), nan_ok=True)
    assert scores.boundary_mf1 == pytest.approx(nanmean(f1), nan_ok=True)


@pytest.mark.parametrize("name", PAIRS)
def test_trimaps_edge_and_body_are_those_of_dilation_minus_erosion(name: str) -> None:
    pairs, classes = PAIRS[name]
    scores = counted(pairs, classes, MetricsConfig(trimap_radii=(4, 1, 2), edge_radius=3)).scores()

    def miou(radius: int, inside: bool) -> float:
        kept = [np.where(trimap(label, classes, radius) == inside, label, VOID) for _, label in pairs]
        predictions = np.concatenate([predicted.ravel() for predicted, _ in pairs])
        return nanmean(plain_scores(predictions, np.concatenate([label.ravel() for label in kept]), classes)["iou"])

    assert list(scores.trimap_miou) == [1, 2, 4]
    for radius, value in scores.trimap_miou.items():
        assert value == pytest.approx(miou(radius, True), nan_ok=True)
    assert scores.edge_miou == pytest.approx(miou(3, True), nan_ok=True)
    assert scores.body_miou == pytest.approx(miou(3, False), nan_ok=True)


def test_huge_images_are_counted_in_pieces_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [blobs(4, 6, (300, 40)), blobs(5, 6, (211, 60))]
    whole = counted(pairs, 6, MetricsConfig())
    monkeypatch.setattr(boundary, "_PIXELS", 1)
    for one, other in zip(whole.tensors(), counted(pairs, 6, MetricsConfig()).tensors(), strict=True):
        assert torch.equal(one, other)


def test_a_batch_counts_as_its_images() -> None:
    pairs = [blobs(seed, 6, (40, 50)) for seed in range(3)]
    batch = BoundaryCounts(6, MetricsConfig())
    batch.update(*(torch.from_numpy(np.stack(maps)) for maps in zip(*pairs, strict=True)))
    for one, other in zip(batch.tensors(), counted(pairs, 6, MetricsConfig()).tensors(), strict=True):
        assert torch.equal(one, other)


def test_a_perfect_prediction_scores_full_and_a_shift_costs_more_at_edges() -> None:
    _, label = blobs(7, 5, (70, 91))
    perfect = counted([(label, label)], 5, MetricsConfig()).scores()
    assert (perfect.boundary_miou, perfect.boundary_mf1, perfect.edge_miou, perfect.body_miou) == (100,) * 4
    shifted = counted([(np.roll(label, 1, 1), label)], 5, MetricsConfig()).scores()
    assert shifted.edge_miou < shifted.body_miou
    assert shifted.trimap_miou[1] < shifted.trimap_miou[10]
    assert not math.isnan(shifted.boundary_miou)
