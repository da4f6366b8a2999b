"""Pixel-wise knowledge distillation of logits."""

from __future__ import annotations

from torch import Tensor

from segdistill.constraints import NonNegative, Positive
from segdistill.methods.base import Method, divergence, labelled
from segdistill.outputs import SegOutput, finer


class KD(Method):
    """Every pixel's class distribution imitates the teacher's.

    L = weight * T^2 * mean over pixels of KL( softmax_K(z_t / T) || softmax_K(z_s / T) ), z of shape (N,K,h,w).
    The mean is over the pixels that are not void; all void gives 0. Grids that differ meet on the finer one.

    temperature: T > 0; weight: of the term. as_published: void pixels distil too, as in the published code.
    Defaults: T = 1, weight = 1 (CIRKD's scripts). Source: Hinton et al., arXiv 1503.02531; the normalisation is
    CIRKD's (N h w in the divisor; other published code divides by N, or by N K h w without T^2).
    """

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        temperature: Positive = 1.0,
        weight: NonNegative = 1.0,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes)
        self.temperature = temperature
        self.weight = weight
        self.as_published = as_published

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        z_s, z_t = finer(student.logits, teacher.logits)
        pixels = divergence(z_t / self.temperature, z_s / self.temperature, dim=1)
        valid = None if self.as_published else labelled(label, z_s)
        if valid is None:
            mean = pixels.mean()
        else:
            mean = (pixels * valid[:, 0]).sum() / valid.sum().clamp_min(1)
        return {"kd": self.weight * self.temperature**2 * mean}
