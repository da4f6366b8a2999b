"""The plain twin of each trick that the losses keep: the formula in torch operations, its gradient left to autograd.

`tests/methods/test_plain_twins.py` puts each in the trick's place and wants the same numbers;
`benchmarks/cleverness.py` measures what the trick saves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.methods import adversary, afdcd, base, bpkd, ifvd, maskd, pkd, skds
from segdistill.methods.parts import relation
from segdistill.training import task_loss


@dataclass(frozen=True)
class Twin:
    """`plain` does what `owner.attribute` does; `method` with `options` is where it counts, "task" the task loss."""

    trick: str
    owner: Any
    attribute: str
    plain: Callable[..., Any]
    method: str
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.trick}, {self.method}"


def function(plain: Callable[..., Any]) -> Any:
    """What stands in the place of a `torch.autograd.Function`."""
    return type("Plain", (), {"apply": staticmethod(plain)})


def cross_entropy(
    logits: Tensor, label: Tensor, class_weights: Tensor | None = None, *, align_corners: bool = False
) -> Tensor:
    scores = F.interpolate(logits, label.shape[-2:], mode="bilinear", align_corners=align_corners)
    wrong = F.cross_entropy(scores, label.long(), class_weights, ignore_index=255, reduction="sum")
    return wrong / (label != 255).sum().clamp_min(1)


def divergence(teacher: Tensor, student: Tensor, dim: int, temperature: float, keep: Tensor | None) -> Tensor:
    def log_softmax(x: Tensor) -> Tensor:
        x = x / temperature
        if keep is not None:
            x = x.masked_fill(~keep, -torch.inf)
        return F.log_softmax(x, dim).clamp_min(-1e30)

    log_t, log_s = log_softmax(teacher), log_softmax(student)
    return (log_t.exp() * (log_t - log_s)).sum(dim)


def standardized_gap(f_s: Tensor, f_t: Tensor, valid: Tensor | None, dims: tuple[int, ...], eps: float) -> Tensor:
    keep = torch.ones_like(f_s[:, :1]) if valid is None else valid.to(f_s.dtype)
    count = keep.sum(dims, keepdim=True)

    def standardized(f: Tensor) -> Tensor:
        centered = (f - (f * keep).sum(dims, keepdim=True) / count.clamp_min(1)) * keep
        var = centered.square().sum(dims, keepdim=True) / (count - 1).clamp_min(1)
        # The root of 0 has an infinite gradient, which 0 times would be NaN.
        return centered / (torch.where(var > 0, var, 1.0).sqrt() * (var > 0) + eps)

    gap = standardized(f_s) - standardized(f_t)
    return gap.square().sum() / (keep.sum().clamp_min(1) * f_s.shape[1])


def gram_distance(x_s: Tensor, x_t: Tensor) -> Tensor:
    return (x_s.mT @ x_s - x_t.mT @ x_t).square().sum((1, 2))


def soft_edges(
    label: Tensor,
    num_classes: int,
    radius: int,
    grid: tuple[int, int],
    *,
    void_edges: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Only with `void_edges`."""
    assert void_edges
    index = label.long().masked_fill(label >= num_classes, num_classes)
    onehot = F.one_hot(index, num_classes + 1)[..., :num_classes].permute(0, 3, 1, 2).to(dtype)
    width = 2 * radius + 1
    edges = F.max_pool2d(onehot, width, 1, radius) + F.max_pool2d(-onehot, width, 1, radius)
    return F.adaptive_avg_pool2d(edges, grid)


def relation_divergence(
    rows_s: Tensor,
    keys_s: Tensor,
    rows_t: Tensor,
    keys_t: Tensor,
    tau: float,
    row_weight: Tensor,
    group_weight: Tensor,
    valid: Tensor | None,
) -> Tensor:
    total = rows_s.new_zeros(())
    for group in range(len(keys_s)):
        s, t = rows_s @ keys_s[group].T / tau, rows_t @ keys_t[group].T / tau
        if valid is not None:
            hidden = ~(valid[group] | ~valid[group].any())
            s, t = s.masked_fill(hidden, -1e30), t.masked_fill(hidden, -1e30)
        s, t = s.log_softmax(1), t.log_softmax(1)
        total = total + ((t.exp() * (t - s)).sum(1) * row_weight).sum() * group_weight[group]
    return total


def logsumexp(x: Tensor) -> Tensor:
    return x.logsumexp(-1)


def spectral_conv(layer: adversary.SpectralConv, x: Tensor) -> Tensor:
    matrix = layer.weight.flatten(1)
    with torch.no_grad():
        v = F.normalize(matrix.mT @ layer.u, dim=0)
        u = F.normalize(matrix @ v, dim=0)
        layer.u.copy_(u)
    return F.conv2d(x, layer.weight / torch.dot(u, matrix @ v), layer.bias, layer.stride, layer.padding)


def similarity(features: Tensor, onehot: Tensor, classes: Tensor) -> Tensor:
    centers = onehot @ features.mT / (onehot.sum(2)[..., None] + 1e-6)
    center = centers.gather(1, classes[:, 0, :, None].expand(-1, -1, features.shape[1])).mT
    return F.cosine_similarity(features, center, dim=1)


def masked_gap(z_s: Tensor, z_t: Tensor, mask: Tensor) -> Tensor:
    weight = mask.square() / (mask.sum((2, 3), keepdim=True) + 1e-5)
    n, k = z_s.shape[:2]
    gap = (z_s - z_t).square()
    return 0.5 * (weight[:, :, None] * gap[:, None]).sum() / (n * k * mask.shape[1])


MEMORY_TERMS = {"minibatch_weight": 0.0}
GAP = ("standardized gap", pkd, "_StandardisedGap", function(standardized_gap))
DIVERGENCE = ("divergence", base, "Divergence", function(divergence))
RELATION = ("relations in chunks", relation, "_RelationDivergence", function(relation_divergence))
TWINS = [
    Twin("task loss in strips", task_loss, "task_loss", cross_entropy, "task"),
    Twin("edges by bit masks", bpkd, "soft_edges", soft_edges, "bpkd"),
    Twin(*RELATION, "cirkd", MEMORY_TERMS),
    Twin(*RELATION, "cirkd", {"pool": 2}),
    Twin(*GAP, "pkd"),
    Twin(*GAP, "canonical"),
    Twin("products not kept", skds, "_GramDistance", function(gram_distance), "skds", {"places": "dense"}),
    Twin("class centers by products", ifvd, "similarity", similarity, "ifvd"),
    Twin("sum without exponentials of 0", afdcd, "_logsumexp", logsumexp, "afdcd"),
    Twin("maps divided, not weights", adversary.SpectralConv, "forward", spectral_conv, "adversary"),
    Twin("masks summed before classes", maskd, "masked_gap", masked_gap, "maskd"),
    Twin(*DIVERGENCE, "bpkd"),
    Twin(*DIVERGENCE, "kd"),
]
