"""Online hard example mining (OHEM): the task loss of those pixels alone that the network does not know yet."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.outputs import resize


@torch.no_grad()
def hard_only(logits: Tensor, label: Tensor, threshold: float, share: float, *, align_corners: bool = False) -> Tensor:
    """Labels with void in the place of the pixels whose class the network is sure of.

    A pixel of class y stays if p_y < max(threshold, q), p the softmax of the upsampled logits, q the `share`-quantile
    of p_y over the labelled pixels of its image. The published form counts over the batch of one process; here each
    image counts for itself, so that batches can be split over processes. Source: Shrivastava et al., arXiv 1604.03540,
    as DDRNet, PIDNet and STDC use it.

    Args:
        logits: (N,K,h,w).
        label: Class indices (N,H,W), 255 is void.
        threshold: The probability from which on a pixel is easy.
        share: The least share of an image's labelled pixels that stays.
        align_corners: Of the upsampling.

    Returns:
        (N,H,W), as `label`.
    """
    hard = torch.full_like(label, IGNORE_INDEX)
    for scores, classes, kept in zip(logits, label, hard, strict=True):  # the scores of one image at its size are held
        size = (classes.shape[0], classes.shape[1])
        labelled = classes != IGNORE_INDEX
        count = int(labelled.sum())
        if not count:
            continue
        scores = scores if scores.dtype == torch.float64 else scores.float()
        x = resize(scores[None], size, align_corners=align_corners)[0]
        target = x.gather(0, classes.masked_fill(~labelled, 0).long()[None])[0]
        log_p = (target - x.logsumexp(0))[labelled]  # as logarithms, small probabilities have an order
        limit = log_p.kthvalue(min(int(share * count), count - 1) + 1).values.clamp_min(math.log(threshold))
        kept[labelled] = classes[labelled].where(log_p < limit, IGNORE_INDEX)
    return hard
