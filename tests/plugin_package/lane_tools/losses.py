"""A distillation loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from segdistill import Method, SegOutput


class Cosine(Method):
    """One minus the cosine of the two networks' scores at each pixel.

    Args:
        weight: Of the term.
    """

    def __init__(self, student: SegOutput, teacher: SegOutput, num_classes: int, *, weight: float = 1.0) -> None:
        super().__init__(student, teacher, num_classes)
        self.weight = weight

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        target = F.interpolate(teacher.logits, student.logits.shape[-2:], mode="bilinear")
        return {"cosine": self.weight * (1 - F.cosine_similarity(student.logits, target, dim=1)).mean()}
