"""The losses written straight from their formulas in plain PyTorch, as a reader of the papers would: what to beat.

Each takes a student's and a teacher's `SegOutput` and labels (N,H,W), 255 void, and gives a loss. kd, cwd and bpkd
count void positions, as `as_published` does.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from segdistill.outputs import SegOutput


def task(student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    scores = F.interpolate(student.logits, label.shape[-2:], mode="bilinear", align_corners=False)
    return F.cross_entropy(scores, label, ignore_index=255)


def kd(student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    n, _, h, w = student.logits.shape
    return F.kl_div(student.logits.log_softmax(1), teacher.logits.softmax(1), reduction="sum") / (n * h * w)


def cwd(student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    n, k = student.logits.shape[:2]
    s, t = student.logits.flatten(2) / 4, teacher.logits.flatten(2) / 4
    return 3 * 16 * F.kl_div(s.log_softmax(2), t.softmax(2), reduction="sum") / (n * k)


def bpkd(student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    n, k, h, w = student.logits.shape
    known = label.masked_fill(label == 255, k)
    onehot = F.one_hot(known, k + 1)[..., :k].permute(0, 3, 1, 2).float()
    edges = F.max_pool2d(onehot, 7, 1, 3) + F.max_pool2d(-onehot, 7, 1, 3)
    mask = F.adaptive_avg_pool2d(edges, (h, w))
    s, t = (student.logits * (1 - mask)).flatten(2), (teacher.logits * (1 - mask)).flatten(2)
    body = F.kl_div(s.log_softmax(2), t.softmax(2), reduction="sum") / (n * k)
    s, t = student.logits * mask, teacher.logits * mask
    pixels = F.kl_div(s.log_softmax(1), t.softmax(1), reduction="none").sum(1, keepdim=True).repeat(1, k, 1, 1)
    size = mask.sum((2, 3)).clamp_min(1)
    edge = ((pixels * mask).sum((2, 3)) / size).sum() / n
    return 20 * body + 50 * 2 * edge


TRANSCRIPTIONS = {"task": task, "kd": kd, "cwd": cwd, "bpkd": bpkd}
