"""The loss of `pretrain`: a backbone's last map imitates that of a teacher without classes, position by position."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.numbers import NonNegative
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method, mean_where
from segdistill.methods.parts import ranks

_SLOWEST = 0.01
_POSITIONS = (0, 2, 3)


class PatchFeatures(Method):
    """Standardized features of a teacher, regressed from the student's last backbone map.

    s = P(f_s), P a 1x1 convolution to the teacher's C channels
    t = (f_t - mean) / sqrt(var + 1e-6), channel by channel
    L = cosine_weight * mean over n, positions of (1 - cos(s, t))
      + smooth_l1_weight * mean over n, positions, channels of smooth_l1(s - t)
    Both maps meet on the finer grid. mean and var are the teacher's over all positions so far: plain averages over the
    first 100 batches, then moving ones with a momentum of 0.01; over several ranks the joint batch's. Padding is left
    out.

    After AM-RADIO (arXiv 2312.06709: cosine and smooth L1) and UNIC (arXiv 2408.05088: standardized teachers; its code
    weighs both terms with 0.5). The weights and how the statistics move were not checked against the papers.

    Args:
        cosine_weight: of the first term.
        smooth_l1_weight: of the second term.
    """

    mean: Tensor
    square: Tensor
    batches: Tensor

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        cosine_weight: NonNegative = 0.9,
        smooth_l1_weight: NonNegative = 0.1,
    ) -> None:
        super().__init__(student, teacher, num_classes, frozenset({"features"}))
        self.cosine_weight, self.smooth_l1_weight = cosine_weight, smooth_l1_weight
        width = teacher.features[-1].shape[1]
        self.projection = nn.Conv2d(student.features[-1].shape[1], width, 1)
        self.register_buffer("mean", torch.zeros(1, width, 1, 1))
        self.register_buffer("square", torch.ones(1, width, 1, 1))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        s, t = finer(self.projection(student.features[-1]), teacher.features[-1])
        valid = self.counted(label, s)
        valid = torch.ones_like(s[:, :1], dtype=torch.bool) if valid is None else valid
        if self.training:
            self._observe(t, valid)
        var = (self.square - self.mean.square()).clamp_min(0)
        t = (t - self.mean) * (var + 1e-6).rsqrt()
        cosine = 1 - F.cosine_similarity(s, t, dim=1)
        distance = F.smooth_l1_loss(s, t, reduction="none").mean(1)
        return {
            "features/cosine": self.cosine_weight * mean_where(cosine, valid[:, 0]),
            "features/smooth_l1": self.smooth_l1_weight * mean_where(distance, valid[:, 0]),
        }

    @torch.no_grad()
    def _observe(self, t: Tensor, valid: Tensor) -> None:
        """Take the teacher's maps of a batch into the running statistics."""
        count = ranks.sum_over(valid.to(t), _POSITIONS)
        if not count.any():
            return
        momentum = max(_SLOWEST, 1 / (int(self.batches) + 1))
        self.mean.lerp_(ranks.sum_over(t * valid, _POSITIONS) / count, momentum)
        self.square.lerp_(ranks.sum_over(t.square() * valid, _POSITIONS) / count, momentum)
        self.batches += 1
