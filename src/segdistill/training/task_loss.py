"""The task loss: cross-entropy at label size, without holding the scores at label size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from segdistill.core.classes import IGNORE_INDEX, UNLABELED
from segdistill.core.outputs import linear_taps, resize
from segdistill.methods.parts import ranks
from segdistill.recipe.training import Divisor

_SCORES = {"cpu": 1 << 18}  # scores in a strip: on a processor about what its cache holds
_SCORES_ELSEWHERE = 1 << 25
_NARROW = 256  # columns: where there are fewer, a product with a matrix is faster than resizing and its way back


def task_loss(
    logits: Tensor,
    label: Tensor,
    class_weights: Tensor | None = None,
    *,
    align_corners: bool = False,
    divisor: Divisor = "labelled",
) -> Tensor:
    """Cross-entropy of logits, upsampled to label size, averaged over the labelled pixels.

    L = 1/V * sum over the labelled pixels p of weight[y_p] * (log sum_k exp x_kp - x_yp), x the bilinear upsampling
    of the logits; V the number of labelled pixels, or with divisor "all" N H W. It can be differentiated once.
    Over several ranks, which all have to call it, V is their mean: the mean of their losses is the joint batch's.

    Columns are upsampled at once, rows in strips: N K h W numbers are held, their gradient, and a strip of scores. The
    gradient is made in the same pass, so that nothing of the size N K H W is ever held or saved.

    Args:
        logits: (N,K,h,w), of any floating type.
        label: Class indices (N,H,W), 255 is void.
        class_weights: (K,), factors of the pixels' losses, not of the divisor; None: all are 1.
        align_corners: Of the upsampling.
        divisor: What V counts.

    Returns:
        A scalar in float32, or float64 for such logits, whatever autocast says; 0 if no pixel has a label.
    """
    with torch.autocast(logits.device.type, enabled=False):
        scores = logits if logits.dtype == torch.float64 else logits.float()
        # Rows first, (N,h,K,w): a strip of upsampled rows is then one small matrix times a contiguous slice.
        scores, width = scores.transpose(1, 2), label.shape[-1]
        if scores.shape[-1] < _NARROW:
            across, _ = _interpolation(scores.shape[-1], width, align_corners)
            scores = scores @ across.to(scores).T
        else:
            scores = resize(scores, (scores.shape[2], width), align_corners=align_corners)
        wanted = torch.is_grad_enabled() and scores.requires_grad
        total: Tensor = _RowwiseCrossEntropy.apply(scores, label, class_weights, align_corners, wanted)
        if divisor == "all":
            return total / label.numel()
        return total / ranks.mean_count((label != IGNORE_INDEX).sum())


def labelled_only(label: Tensor) -> Tensor:
    """Labels with void in the place of `UNLABELED`: what a task loss can learn from.

    Args:
        label: Integers (N,H,W).

    Returns:
        A copy (N,H,W).
    """
    return label.masked_fill(label == UNLABELED, IGNORE_INDEX)


def micro_batch_shares(labels: Sequence[Tensor]) -> list[Tensor]:
    """What the task loss of each micro-batch counts in the mean over a step's.

    share_i = n_i / (mean over i of n_i), n_i the labelled pixels of the i-th micro-batches of all ranks together. The
    mean of the losses is then the joint batch's, wherever void falls.

    Args:
        labels: Integers (N,H,W) of each micro-batch of this rank; all ranks have equally many.

    Returns:
        A scalar for each; all 0 if no pixel has a label.
    """
    counts = ranks.total(torch.stack([(labelled_only(label) != IGNORE_INDEX).sum() for label in labels]).float())
    return list(counts / counts.mean().clamp_min(1))


# The strips, drawn for one image with scores of 2 rows, a and b, labels of 4 rows, and strips of 2 rows:
#
#   lift (4,2)   rows of scores        strip 1                             strip 2
#   1.00  0.00   a                     x = lift[0:2] @ (a, b)              x = lift[2:4] @ (a, b)
#   0.75  0.25   3/4 a + 1/4 b         total += losses of 2 rows           total += losses of 2 rows
#   0.25  0.75   1/4 a + 3/4 b         x becomes its own gradient          x becomes its own gradient
#   0.00  1.00   b                     gradient(a, b) += lift[0:2].T @ x   gradient(a, b) += lift[2:4].T @ x
#
# One strip of upsampled scores is in memory at a time. Autograd would save all four rows, their softmax and gradient.
class _RowwiseCrossEntropy(torch.autograd.Function):
    """Weighted sum of the pixels' cross-entropies of scores (N,h,K,W), upsampled along h to labels (N,H,W)."""

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, label: Tensor, class_weights: Tensor | None, align_corners: bool, wanted: bool
    ) -> Tensor:
        scores = scores.contiguous()
        n, height, classes, width = scores.shape
        lift, ends = _interpolation(height, label.shape[1], align_corners)
        lift = lift.to(scores)
        gradient = torch.zeros_like(scores) if wanted else None
        # What a pixel weighs by its label; an impossible one finds no class below.
        weights = scores.new_zeros(IGNORE_INDEX + 1)
        weights[:classes] = 1 if class_weights is None else class_weights
        rows = max(1, _SCORES.get(scores.device.type, _SCORES_ELSEWHERE) // (classes * width))
        total = scores.new_zeros((), dtype=torch.float64)
        for top in range(0, len(lift), rows):
            first, last = ends[top][0], ends[min(top + rows, len(lift)) - 1][1] + 1
            part = lift[top : top + rows, first:last]
            for i in range(n):
                x = (part @ scores[i, first:last].flatten(1)).view(-1, classes, width)
                target = label[i, top : top + rows].long()[:, None]
                weight = weights.index_select(0, target.flatten()).view_as(target)
                target = target * (target != IGNORE_INDEX)
                x -= x.amax(1, keepdim=True)
                target_score = x.gather(1, target)
                mass = x.exp_().sum(1, keepdim=True)
                total += ((mass.log() - target_score) * weight).sum()
                if gradient is not None:
                    x *= weight / mass
                    x.scatter_add_(1, target, -weight)
                    gradient[i, first:last].flatten(1).addmm_(part.T, x.flatten(1))
        ctx.save_for_backward(gradient)
        return total.to(scores.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None, None, None, None


def _interpolation(source: int, target: int, align_corners: bool) -> tuple[Tensor, list[tuple[int, int]]]:
    """Linear interpolation along one axis: a matrix (target, source), and each row's first and last entry in use."""
    low, high, rest = linear_taps(source, target, align_corners=align_corners)
    rest = rest[:, None]
    matrix = torch.zeros(target, source, dtype=torch.float64)
    matrix.scatter_add_(1, low[:, None], 1 - rest).scatter_add_(1, high[:, None], rest)
    return matrix, list(zip(low.tolist(), high.tolist(), strict=True))
