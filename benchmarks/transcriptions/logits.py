"""Losses on class scores, written out."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from segdistill.core.outputs import SegOutput


def task(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    scores = F.interpolate(student.logits, label.shape[-2:], mode="bilinear", align_corners=False)
    return F.cross_entropy(scores, label, ignore_index=255)


def kd(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    n, _, h, w = student.logits.shape
    return F.kl_div(student.logits.log_softmax(1), teacher.logits.softmax(1), reduction="sum") / (n * h * w)


def cwd(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    n, k = student.logits.shape[:2]
    s, t = student.logits.flatten(2) / 4, teacher.logits.flatten(2) / 4
    return 3 * 16 * F.kl_div(s.log_softmax(2), t.softmax(2), reduction="sum") / (n * k)


def dist(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    k = student.logits.shape[1]
    s, t = (x.logits.softmax(1).permute(0, 2, 3, 1).reshape(-1, k) for x in (student, teacher))
    return 2 - pearson(s, t).mean() - pearson(s.T, t.T).mean()


def pearson(a: Tensor, b: Tensor) -> Tensor:
    return F.cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True), dim=1, eps=1e-8)


def dkd(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    k = student.logits.shape[1]
    small = F.interpolate(label[:, None].float(), student.logits.shape[-2:], mode="nearest")[:, 0].long()
    of_label = F.one_hot(small[small != 255], k).bool()
    s, t = (x.logits.permute(0, 2, 3, 1)[small != 255] for x in (student, teacher))
    s_own, t_own = s.softmax(1)[of_label], t.softmax(1)[of_label]
    target = t_own * (t_own / s_own).log() + (1 - t_own) * ((1 - t_own) / (1 - s_own)).log()
    s, t = (x[~of_label].view(-1, k - 1) for x in (s, t))
    others = F.kl_div(s.log_softmax(1), t.softmax(1), reduction="batchmean")
    return target.mean() + 0.5 * others


def bpkd(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    n, k, h, w = student.logits.shape
    index = label.masked_fill(label == 255, k)
    onehot = F.one_hot(index, k + 1)[..., :k].permute(0, 3, 1, 2).to(student.logits.dtype)
    edges = F.max_pool2d(onehot, 7, 1, 3) + F.max_pool2d(-onehot, 7, 1, 3)
    mask = F.adaptive_avg_pool2d(edges, (h, w))
    s, t = (student.logits * (1 - mask)).flatten(2), (teacher.logits * (1 - mask)).flatten(2)
    body = F.kl_div(s.log_softmax(2), t.softmax(2), reduction="sum") / (n * k)
    s, t = student.logits * mask, teacher.logits * mask
    pixels = F.kl_div(s.log_softmax(1), t.softmax(1), reduction="none").sum(1, keepdim=True)
    size = mask.sum((2, 3)).clamp_min(1)
    edge = ((pixels * mask).sum((2, 3)) / size).sum() / n
    return 20 * body + 50 * 2 * edge
