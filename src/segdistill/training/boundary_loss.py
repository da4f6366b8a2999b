"""The losses of boundary heads: PIDNet's for edges of the labels, STDC's for their details."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.outputs import resize
from segdistill.methods.parts import ranks

NEAR = 0.8
"""Probability of an edge above which a pixel counts as near one."""


def edge_loss(logits: Tensor, target: Tensor, label: Tensor) -> Tensor:
    """Balanced binary cross-entropy of logits (N,1,H,W) with edges (N,H,W) of the labels (N,H,W), void left out.

    L = 1/V sum_p w_p bce(x_p, t_p), w_p the share of the pixels that are of the other kind, V the labelled pixels.
    Source: Xu et al., "PIDNet", arXiv 2206.02066.

    Args:
        logits: Of an edge, at the size of the labels.
        target: 1 at edges, 0 elsewhere.
        label: Tells which pixels are void.

    Returns:
        Scalar, the mean over the labelled pixels of all processes.
    """
    valid = (label != IGNORE_INDEX).float()
    counts = ranks.total(torch.stack([(valid * (1 - target)).sum(), (valid * target).sum()]))
    weights = counts / counts.sum().clamp_min(1)  # of an edge: the share of other pixels, and the other way round
    weight = torch.where(target > 0.5, weights[0], weights[1]) * valid
    loss = F.binary_cross_entropy_with_logits(logits[:, 0], target, weight, reduction="sum")
    return loss / ranks.mean_count(valid.sum())


def detail_loss(logits: Tensor, target: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy and Dice loss of logits (N,2,H,W), for no and yes, with details (N,H,W), void left out.

    L = 1/2V sum_p,k bce(x_pk, t_pk) + 1/N sum_n (1 - 2 sum s t / (sum s^2 + sum t^2)), s = sigmoid(x), the sums of
    Dice over the pixels of an image and both channels, N the images with a labelled pixel. Source: Fan et al., arXiv
    2104.13188, as in OpenMMLab's heads.

    Args:
        logits: At the size of the labels.
        target: 1 at details, 0 elsewhere.
        label: Tells which pixels are void.

    Returns:
        Scalar.
    """
    valid = (label != IGNORE_INDEX).float()[:, None]
    both = torch.stack([1 - target, target], dim=1)
    loss = F.binary_cross_entropy_with_logits(logits, both, valid.expand_as(both), reduction="sum")
    cross_entropy = loss / (2 * ranks.mean_count(valid.sum()))
    scores, both = (logits.sigmoid() * valid).flatten(1), (both * valid).flatten(1)
    overlap = 2 * (scores * both).sum(1) / (scores.square().sum(1) + both.square().sum(1) + 2e-3)
    seen = valid.flatten(1).amax(1)
    return cross_entropy + (seen * (1 - overlap)).sum() / ranks.mean_count(seen.sum())


def near_edges(boundary: Tensor, label: Tensor) -> Tensor:
    """Labels (N,H,W), void where the edge logits (N,1,H,W) do not say that an edge is near.

    Args:
        boundary: At the size of the labels.
        label: Classes and void.

    Returns:
        (N,H,W), as `label`.
    """
    near = boundary[:, 0].detach().sigmoid() > NEAR
    return torch.where(near, label, torch.full_like(label, IGNORE_INDEX))


def at_label_size(logits: Tensor, label: Tensor, *, align_corners: bool) -> Tensor:
    """Logits (N,C,h,w) at the size of the labels (N,H,W), in float32.

    Args:
        logits: What is resized.
        label: Whose size they get.
        align_corners: Whether the corner pixels' centers meet.

    Returns:
        (N,C,H,W).
    """
    return resize(logits.float(), (label.shape[-2], label.shape[-1]), align_corners=align_corners)
