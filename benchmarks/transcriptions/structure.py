"""Losses on the structure within an image, written out."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.outputs import SegOutput
from transcriptions.features import attention


def ifvd(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    """As published: the labels repeated for every channel, and class after class masked copies of all features.

    With masks of one channel the same loop takes 454 MiB in place of about 2900 (city) and two thirds of the time.
    """
    k = student.logits.shape[1]
    small = F.interpolate(label[:, None].float(), student.embedding.shape[-2:], mode="nearest")
    s, t = (to_centre(x.embedding, small.expand_as(x.embedding), k) for x in (student, teacher))
    return 20 * F.mse_loss(s, t)


def to_centre(f: Tensor, label: Tensor, classes: int) -> Tensor:
    centre = f
    for c in range(classes):
        mask = (label == c).to(f)
        mean = (f * mask).sum((2, 3), keepdim=True) / (mask.sum((2, 3), keepdim=True) + 1e-6)
        centre = (1 - mask) * centre + mask * mean
    return F.cosine_similarity(f, centre, dim=1)


def dsd(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    """Without auxiliary logits: one pair of layers."""
    maps_s, maps_t = ([attention(x) for x in (output.embedding, output.logits)] for output in (student, teacher))
    pairs = list(combinations(range(len(maps_s)), 2))
    psd = torch.zeros(())
    for i, j in pairs:
        r_s, r_t = (F.normalize(maps[j] - maps[i], dim=1) for maps in (maps_s, maps_t))
        psd = psd + F.mse_loss(r_s, r_t) / len(pairs)
    csd = F.mse_loss(shared_places(student.logits), shared_places(teacher.logits))
    return 1000 * psd + 10 * csd


def shared_places(z: Tensor) -> Tensor:
    p = (F.avg_pool2d(z, 2, 2, ceil_mode=True).flatten(2) / 4).softmax(2)
    return p @ p.transpose(1, 2)


def skds(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    """The authors': soft cross-entropy summed over the images, and pairs of 2x2 regions with constant lengths."""
    h, w = student.logits.shape[-2:]
    pixel = -(teacher.logits.softmax(1) * student.logits.log_softmax(1)).sum() / (h * w)
    regions = [
        F.max_pool2d(x.embedding, (h // 2, w // 2), (h // 2, w // 2), ceil_mode=True) for x in (student, teacher)
    ]
    s, t = (x.flatten(2) for x in regions)
    s, t = (x / (x.norm(dim=1, keepdim=True).detach() + 1e-8) for x in (s, t))
    return 10 * pixel + 0.5 * F.mse_loss(s.transpose(1, 2) @ s, t.transpose(1, 2) @ t)


def dense_pairs(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    """CIRKD's: pairs of places of 2x2 positions."""
    s, t = (F.max_pool2d(x.embedding, 2, 2, ceil_mode=True).flatten(2) for x in (student, teacher))
    s, t = F.normalize(s, dim=1), F.normalize(t, dim=1)
    return 10 * F.mse_loss(s.transpose(1, 2) @ s, t.transpose(1, 2) @ t)
