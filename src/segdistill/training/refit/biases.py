"""One number for each class that is added to its scores, fitted to the mIoU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdistill.evaluation.metrics import pair_counts
from segdistill.models.network import SegmentationNetwork
from segdistill.models.probing import evaluating

_RANGE, _STEP = 2.0, 0.125
_ROUNDS = 3


def miou_of(scores: Tensor, labels: Tensor, biases: Tensor | None = None, *, ignored: Sequence[int] = ()) -> float:
    """Mean IoU, in percent, of pixels whose scores have biases added, over the classes that the labels have.

    Args:
        scores: (P,K).
        labels: (P), class indices.
        biases: (K); None for none.
        ignored: Classes that are no part of the mean.

    Returns:
        From 0 to 100.
    """
    classes = scores.shape[1]
    predicted = (scores if biases is None else scores + biases).argmax(1)
    pairs = pair_counts(labels, predicted, classes)
    return float(_mean_iou(pairs.diag(), pairs.sum(0), pairs.sum(1), ignored))


def fit_biases(scores: Tensor, labels: Tensor, *, ignored: Sequence[int] = ()) -> Tensor:
    """Biases that raise the mIoU of these pixels, one class after the other, three times around.

    Training for cross-entropy, with rare classes weighed up and on crops, does not end at the scores that give the best
    mIoU. With all other biases fixed, a pixel becomes class c from the bias on at which its score is the largest. So
    one histogram of these thresholds gives the mIoU of every candidate, -2 to 2 in steps of 1/8; of equals the smallest
    is taken. Classes without a pixel keep 0.
    Source: "post-hoc logit adjustment", Menon et al., ICLR 2021, arXiv 2007.07314, which takes the log of class
    frequencies instead of a fit.

    Args:
        scores: (P,K).
        labels: (P), class indices.
        ignored: Classes that are no part of the mean; their bias stays 0.

    Returns:
        (K), float32.
    """
    # Class c = 0 beside two others, candidates -1, 0, 1. To win a pixel takes (best other score) - (score of c):
    #
    #   pixel   label   best other   it takes   c wins it at   -1    0    1
    #   1       0       1             0.4                       -    -    c
    #   2       0       2            -0.3                       -    c    c
    #   3       1       1            -0.6                       -    c    c
    #
    # Counted up along the candidates: c has 0, 2, 3 pixels, 0, 1, 2 of them its label's; class 1 loses 0, 1, 2 pixels
    # and 0, 1, 1 hits. These counts are all that the IoU of every class at every candidate needs.
    classes = scores.shape[1]
    biases = torch.zeros(classes, device=scores.device)
    steps = int(_RANGE / _STEP)
    candidates = torch.arange(-steps, steps + 1, device=scores.device) * _STEP
    smallest_first = candidates.abs().argsort(stable=True)
    pixels = labels.bincount(minlength=classes)
    for _ in range(_ROUNDS):
        for c in sorted({*pixels.nonzero().flatten().tolist()} - {*ignored}):
            others = scores + biases
            others[:, c] = -torch.inf
            best, rival = others.max(1)
            first = torch.bucketize(best - scores[:, c], candidates)  # the first candidate that makes the pixel c
            hit = rival == labels
            lost = _up_to(first, rival, len(candidates), classes)
            predicted = rival.bincount(minlength=classes) - lost
            predicted[:, c] = lost.sum(1)
            hits = rival[hit].bincount(minlength=classes) - _up_to(first[hit], rival[hit], len(candidates), classes)
            hits[:, c] = _up_to(first[labels == c], labels[labels == c], len(candidates), classes)[:, c]
            miou = _mean_iou(hits, predicted, pixels, ignored)
            biases[c] = candidates[smallest_first[miou[smallest_first].argmax()]]
    return biases


def _up_to(first: Tensor, index: Tensor, candidates: int, classes: int) -> Tensor:
    """How many pixels of each class index have been won up to each candidate, (candidates, classes)."""
    table = torch.bincount(first * classes + index, minlength=(candidates + 1) * classes).view(-1, classes)
    return table.cumsum(0)[:candidates]


def _mean_iou(hits: Tensor, predicted: Tensor, pixels: Tensor, ignored: Sequence[int]) -> Tensor:
    """Mean IoU in percent from counts (..,K), over the classes that have pixels and are not ignored."""
    iou = 100 * hits.double() / (predicted + pixels - hits)
    counted = pixels > 0
    counted[list(ignored)] = False
    return iou[..., counted].mean(-1)


@torch.no_grad()
def class_layer(network: SegmentationNetwork, image: Tensor) -> nn.Module | None:
    """The layer whose bias is added to the scores of the classes, as a trial shows.

    Args:
        network: That the layer is searched in.
        image: (N,C,H,W), for the trial.

    Returns:
        The layer; None if no layer's bias moves each class's scores by as much as itself, everywhere.
    """
    with evaluating(network):
        before = network(image).logits
        offset = torch.arange(1, before.shape[1] + 1, device=before.device) / 8
        for layer in reversed(list(network.modules())):
            bias = getattr(layer, "bias", None)
            if not isinstance(bias, Tensor) or bias.shape != offset.shape:
                continue
            kept = bias.clone()
            bias += offset
            moved = network(image).logits - before
            bias.copy_(kept)
            if torch.allclose(moved, offset[:, None, None].expand_as(moved), atol=1e-3):
                return layer
    return None
