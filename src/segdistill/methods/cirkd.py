"""Cross-image relational distillation: how every pixel resembles the pixels of other images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.constraints import Count, NonNegative, Positive
from segdistill.methods import ranks
from segdistill.methods.base import Method, labelled
from segdistill.methods.relation import relation_divergence
from segdistill.outputs import SegOutput, finer


class CIRKD(Method):
    """Every pixel's similarities to the pixels of its own and of other images imitate the teacher's."""

    needs: frozenset[str] = frozenset({"embedding"})

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        minibatch_weight: NonNegative = 1.0,
        tau: Positive = 0.1,
        pool: Count | None = None,
        across_ranks: bool = True,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes)
        self.minibatch_weight = minibatch_weight
        self.tau = tau
        self.pool = pool
        self.across_ranks = across_ranks and not as_published
        self.as_published = as_published

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        f_s, f_t = finer(student.embedding, teacher.embedding)
        valid = torch.ones_like(f_s[:, :1], dtype=torch.bool)
        if label is not None and not self.as_published:
            valid = labelled(label, f_s)
        return {"cirkd/minibatch": self.minibatch_weight * self._minibatch(f_s, f_t, valid)}

    def _minibatch(self, f_s: Tensor, f_t: Tensor, valid: Tensor) -> Tensor:
        if not self.minibatch_weight:
            return f_s.new_zeros(())
        size = self.pool if self.pool is not None else (4 if min(f_s.shape[-2:]) >= 256 else 1)
        f_s, _ = pooled(f_s, valid, size)
        f_t, valid = pooled(f_t, valid, size)
        rows_s, rows_t = unit_pixels(f_s), unit_pixels(f_t)
        known = valid.flatten(1)
        keys = [ranks.gather(x) if self.across_ranks else x for x in (rows_s, rows_t, known)]
        taught = known.flatten().to(rows_s.dtype)
        group = keys[2].any(1).to(rows_s.dtype)
        return relation_divergence(
            rows_s.flatten(0, 1),
            keys[0],
            rows_t.flatten(0, 1),
            keys[1],
            tau=self.tau,
            row_weight=taught / self._mean_count(taught.sum(), self.across_ranks),
            group_weight=group / group.sum().clamp_min(1),
            valid=None if self.as_published else keys[2],
        )

    @staticmethod
    def _mean_count(count: Tensor, across_ranks: bool = True) -> Tensor:
        """`count` averaged over the ranks: with it as divisor, the mean of the ranks' terms is the joint batch's."""
        if across_ranks:
            count = ranks.total(count) / ranks.world()[1]
        return torch.where(count > 0, count, 1.0)


def unit_pixels(x: Tensor) -> Tensor:
    """Maps (N,C,h,w) as unit vectors of the pixels (N,hw,C)."""
    return F.normalize(x.flatten(2).transpose(1, 2), dim=2)


def pooled(x: Tensor, valid: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Maps (N,C,h,w) averaged over windows of size x size (cut off at the border), positions not `valid` (N,1,h,w) left
    out; and which windows held a valid position."""
    if size == 1:
        return x, valid
    share = F.avg_pool2d(valid.to(x.dtype), size, ceil_mode=True)
    mean = F.avg_pool2d(torch.where(valid, x, 0.0), size, ceil_mode=True)
    return mean / torch.where(share > 0, share, 1.0), share > 0
