"""Scores and windows written down a second time, class by class and pixel by pixel, from their definitions."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

VOID = 255
SQUARE = np.ones((3, 3), dtype=bool)


def plain_scores(predicted: np.ndarray, label: np.ndarray, classes: int) -> dict[str, list[float]]:
    """IoU, accuracy and Dice of each class, in percent."""
    valid = label != VOID
    predicted, label = predicted[valid], label[valid]
    scores: dict[str, list[float]] = {"iou": [], "accuracy": [], "dice": []}
    for c in range(classes):
        guessed, labelled = predicted == c, label == c
        hit = int((guessed & labelled).sum())
        scores["iou"].append(share(hit, int((guessed | labelled).sum())))
        scores["accuracy"].append(share(hit, int(labelled.sum())))
        scores["dice"].append(share(2 * hit, int(guessed.sum()) + int(labelled.sum())))
    return scores


def share(part: float, whole: float) -> float:
    return 100 * part / whole if whole else math.nan


def nanmean(values: list[float]) -> float:
    return math.nan if all(math.isnan(value) for value in values) else float(np.nanmean(values))


def eroded(mask: np.ndarray, radius: int, *, outside: bool) -> np.ndarray:
    return ndimage.binary_erosion(mask, SQUARE, iterations=radius, border_value=outside)


def dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    return ndimage.binary_dilation(mask, SQUARE, iterations=radius)


def boundary_scores(
    pairs: list[tuple[np.ndarray, np.ndarray]], classes: int, *, ratio: float, tolerance: float
) -> tuple[list[float], list[float]]:
    """Boundary IoU and F1 of each class over (prediction, label) pairs (H,W); void, in both, is any class's inside."""
    counts = np.zeros((classes, 6))
    for predicted, label in pairs:
        void = label == VOID
        diagonal = math.hypot(*label.shape)
        depth = max(1, round(ratio * diagonal))
        near = max(1, round(tolerance * diagonal if tolerance < 1 else tolerance))
        for c in range(classes):
            masks = [(one == c) & ~void for one in (label, predicted)]
            labelled, guessed = (mask & ~eroded(mask | void, depth, outside=False) for mask in masks)
            edge, guessed_edge = (mask & ~eroded(mask | void, 1, outside=True) for mask in masks)
            counts[c] += [
                (labelled & guessed).sum(), (labelled | guessed).sum(),
                edge.sum(), (edge & dilated(guessed_edge, near)).sum(),
                guessed_edge.sum(), (guessed_edge & dilated(edge, near)).sum(),
            ]  # fmt: skip
    iou = [share(both, either) for both, either, *_ in counts]
    f1 = []
    for _, _, edge, recalled, guessed, right in counts:
        precision, recall = share(right, guessed), share(recalled, edge)
        total = precision + recall
        f1.append((2 * precision * recall / total if total > 0 else 0.0) if edge + guessed else math.nan)
    return iou, f1


def trimap(label: np.ndarray, classes: int, radius: int) -> np.ndarray:
    """The pixels that dilation minus erosion of any class reaches, void left out; void is no edge."""
    void = label == VOID
    edge = np.zeros_like(void)
    for c in range(classes):
        edge |= dilated(label == c, radius) & ~eroded((label == c) | void, radius, outside=True)
    return edge & ~void
