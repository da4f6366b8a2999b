"""DIST: the student's class probabilities correlate with the teacher's, they need not equal them."""

from __future__ import annotations

import torch
from torch import Tensor

from segdistill.core.numbers import NonNegative, Positive
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method
from segdistill.methods.parts import ranks

_EPS = 1e-8
_TINY = 1e-38
_BATCH = (0, 2, 3)


class DIST(Method):
    """Pearson correlation of the probabilities p = softmax_K(z / T), z of shape (N,K,h,w), with the teacher's.

    Good for a teacher that is much stronger than the student: relations are matched, not values.

      inter = inter_weight * T^2 * (1 - mean over pixels of rho(p_s[:, pixel], p_t[:, pixel]))
      intra = intra_weight * T^2 * (1 - mean over classes of rho(p_s[class], p_t[class]))
    p[:, pixel] has K numbers, p[class] those of all pixels of the batch, over several ranks of the joint one.
    rho(a,b) = <a - mean a, b - mean b> / (|a - mean a| |b - mean b| + 1e-8). Void pixels are in no vector; all void
    gives 0. A class whose probability is the same everywhere correlates with nothing: it adds 1 and no gradient.
    Grids that differ meet on the finer one.

    With two classes a pixel's correlation is +1 or -1 whatever the probabilities, so inter has next to no gradient:
    choose another method for binary masks (the authors say so too). The published training adds 0.4 times the same loss
    of the auxiliary heads, which is left out here. Defaults: 1, 1 and T = 1 of the paper's segmentation code. Source:
    Huang et al., arXiv 2205.10536.

    Args:
        inter_weight: of the correlation of a pixel's classes.
        intra_weight: of the correlation of a class's pixels.
        temperature: T > 0.
        as_published: void pixels count as well.
    """

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        inter_weight: NonNegative = 1.0,
        intra_weight: NonNegative = 1.0,
        temperature: Positive = 1.0,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes)
        self.inter_weight = inter_weight
        self.intra_weight = intra_weight
        self.temperature = temperature
        self.as_published = as_published
        if num_classes == 2:
            self.unmeasured = frozenset({"dist/inter"})

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """Both terms on the finer of the two grids.

        Args:
            student: logits (N,K,h,w).
            teacher: logits (N,K,h',w').
            label: (N,H,W), 255 is left out; None: all pixels count.

        Returns:
            "dist/inter" and "dist/intra".
        """
        z_s, z_t = finer(student.logits, teacher.logits)
        p_s, p_t = (z_s / self.temperature).softmax(1), (z_t / self.temperature).softmax(1)
        counted = self.counted(label, p_s)
        valid = torch.ones_like(p_s[:, :1]) if counted is None else counted.to(p_s.dtype)
        scale = self.temperature**2
        return {
            "dist/inter": self.inter_weight * scale * _inter(p_s, p_t, valid),
            "dist/intra": self.intra_weight * scale * _intra(p_s, p_t, valid),
        }


def _inter(p_s: Tensor, p_t: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid pixels of 1 - rho of their K probabilities."""
    a, b = (p - p.mean(1, keepdim=True) for p in (p_s, p_t))
    rho = _correlation(a, b, (1,))
    return ((1 - rho) * valid).sum() / ranks.mean_count(valid.sum())


def _intra(p_s: Tensor, p_t: Tensor, valid: Tensor) -> Tensor:
    """Mean over classes of 1 - rho of their maps, which go on in the other ranks' images."""
    count = ranks.total(valid.sum())
    a, b = (_centered_over_batch(p, valid, count) for p in (p_s, p_t))
    return (1 - _correlation(a, b, _BATCH)).mean() * (count > 0)


def _centered_over_batch(p: Tensor, valid: Tensor, count: Tensor) -> Tensor:
    mean = ranks.sum_over(p * valid, _BATCH) / count.clamp_min(1)
    return (p - mean) * valid


def _correlation(a: Tensor, b: Tensor, dims: tuple[int, ...]) -> Tensor:
    """rho of centered maps (N,K,h,w) along `dims`, which stay with size 1; 0, without gradient, where one is constant.

    Over the images of all ranks if 0 is among `dims`.
    """
    ab, aa, bb = (ranks.sum_over(x * y, dims) for x, y in ((a, b), (a, a), (b, b)))
    # The root of 0 has an infinite gradient, which 0 times would be NaN.
    length_a, length_b = (torch.where(x > 0, x.clamp_min(_TINY).sqrt(), 0.0) for x in (aa, bb))
    return ab / (length_a * length_b + _EPS)
