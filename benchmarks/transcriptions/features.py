"""Losses on feature maps, written out."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.outputs import SegOutput


def fitnet(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    return 10 * F.mse_loss(F.conv2d(student.embedding, method.connector.weight), teacher.embedding)


def at(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    s, t = (attention(x.embedding) for x in (student, teacher))
    return 10_000 * F.mse_loss(s, t)


def attention(maps: Tensor) -> Tensor:
    return F.normalize(maps.pow(2).mean(1).flatten(1), dim=1)


def mgd(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    f_s, f_t = student.features[-1], teacher.features[-1]
    first, _, second = method.generate.generator
    draw = torch.rand(len(f_s), 1, *f_s.shape[2:])
    mask = torch.where(draw > 1 - 0.75, 0.0, 1.0).to(f_s)
    made = F.conv2d(F.relu(F.conv2d(f_s * mask, first.weight, first.bias, padding=1)), second.weight, second.bias, 1, 1)
    return 2e-5 * F.mse_loss(made, f_t, reduction="sum") / len(f_s)


def pkd(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    s, t = (standard(x.embedding, (0, 2, 3), 1e-6) for x in (student, teacher))
    return F.mse_loss(s, t) / 2


def standard(f: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    return (f - f.mean(dims, keepdim=True)) / (f.std(dims, keepdim=True) + eps)


def canonical(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    f_s = F.conv2d(student.embedding, method.connector.weight)
    f_t = teacher.embedding
    small = F.interpolate(label[:, None].float(), f_s.shape[-2:], mode="nearest")
    labelled = small != 255
    feature = ((known_standard(f_s, labelled) - known_standard(f_t, labelled)) ** 2 * labelled).sum()
    divergence = F.kl_div(student.logits.log_softmax(1), teacher.logits.softmax(1), reduction="none")
    weight = torch.zeros_like(small)
    for c in range(student.logits.shape[1]):
        weight[small == c] = ((small == c).sum() / labelled.sum()) ** -0.5
    return feature / (labelled.sum() * f_s.shape[1]) + (divergence * weight).sum() / weight.sum()


def known_standard(f: Tensor, labelled: Tensor) -> Tensor:
    count = labelled.sum((2, 3), keepdim=True)
    mean = (f * labelled).sum((2, 3), keepdim=True) / count
    variance = ((f - mean) ** 2 * labelled).sum((2, 3), keepdim=True) / (count - 1)
    return (f - mean) / (variance.sqrt() + 1e-3)
