"""DIST: the student's class probabilities correlate with the teacher's, they need not equal them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from segdistill.core.numbers import NonNegative, Positive
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method, labelled
from segdistill.methods.parts import ranks

_EPS = 1e-8


class DIST(Method):
    """Pearson correlation of the probabilities p = softmax_K(z / T), z of shape (N,K,h,w), with the teacher's.

      inter = inter_weight * T^2 * (1 - mean over pixels of rho(p_s[:, pixel], p_t[:, pixel]))
      intra = intra_weight * T^2 * (1 - mean over classes of rho(p_s[class], p_t[class]))
    p[:, pixel] has K numbers, p[class] those of all pixels of the batch, over several ranks of the joint one.
    rho(a,b) = <a - mean a, b - mean b> / (|a - mean a| |b - mean b| + 1e-8). Void pixels are in no vector; all void
    gives 0. A class whose probability is the same everywhere correlates with nothing: it adds 1 and no gradient.
    Grids that differ meet on the finer one.

    With two classes a pixel's correlation is +1 or -1 whatever the probabilities, so inter has next to no gradient:
    choose another method for binary masks (the authors say so too).

    inter_weight, intra_weight: of the terms. temperature: T > 0. as_published: void pixels count as well. The
    published training adds 0.4 times the same loss of the auxiliary heads, which is left out here.
    Defaults: 1, 1 and T = 1 of the paper's segmentation code. Source: Huang et al., arXiv 2205.10536.
    Typical on CamVid (mobile_pair): at step 10 dist/inter 0.23 to 0.94, dist/intra 0.37 to 1.6; at step 300
    dist/inter 0.064 to 0.26, dist/intra 0.14 to 0.58.
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

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        z_s, z_t = finer(student.logits, teacher.logits)
        p_s, p_t = (z_s / self.temperature).softmax(1), (z_t / self.temperature).softmax(1)
        if self.as_published or label is None:
            valid = torch.ones_like(p_s[:, :1])
        else:
            valid = labelled(label, p_s).to(p_s.dtype)
        scale = self.temperature**2
        return {
            "dist/inter": self.inter_weight * scale * _inter(p_s, p_t, valid),
            "dist/intra": self.intra_weight * scale * _intra(p_s, p_t, valid),
        }


def _inter(p_s: Tensor, p_t: Tensor, valid: Tensor) -> Tensor:
    distance: Tensor = _Distance.apply(p_s, p_t, (1,), valid, None)
    return distance / ranks.mean_count(valid.sum())


def _intra(p_s: Tensor, p_t: Tensor, valid: Tensor) -> Tensor:
    known = (ranks.total(valid.sum()) > 0).to(p_s.dtype)
    distance: Tensor = _Distance.apply(p_s, p_t, (0, 2, 3), known, valid)
    return distance / p_s.shape[1]


class _Distance(torch.autograd.Function):
    """Sum of weight * (1 - rho) over the vectors along `dims` of maps (N,K,h,w); the gradient is all that is kept.

    weight: broadcast to the maps without `dims`. valid: (N,1,h,w), the positions in a vector, which then goes on in the
    maps of the other ranks; None: all. rho is 0, with gradient 0, where either vector is constant.
    """

    @staticmethod
    def forward(
        ctx: Any, p_s: Tensor, p_t: Tensor, dims: tuple[int, ...], weight: Tensor, valid: Tensor | None
    ) -> Tensor:
        def total(x: Tensor) -> Tensor:
            return x if valid is None else ranks.total(x)

        def centred(p: Tensor) -> Tensor:
            if valid is None:
                return p - p.mean(dims, keepdim=True)
            kept = p * valid
            return kept.sub_(total(kept.sum(dims, keepdim=True)) / total(valid.sum()).clamp_min(1) * valid)

        a, b = centred(p_s), centred(p_t)
        ab, aa, bb = (total((x * y).sum(dims, keepdim=True)) for x, y in ((a, b), (a, a), (b, b)))
        norm = aa.sqrt() * bb.sqrt()
        rho = ab / (norm + _EPS)
        if ctx.needs_input_grad[0]:
            # d rho / da = b / norm - rho a / |a|^2. A constant shift of p changes nothing: the gradient's mean is 0.
            to_a = torch.where(aa > 0, rho * weight * norm / ((norm + _EPS) * aa), 0.0)
            gradient = b.mul_(-weight / (norm + _EPS)).addcmul_(a, to_a)
            # What all ranks make of a joint vector is the same, and training takes the mean over the ranks.
            ctx.save_for_backward(gradient if valid is None else gradient.mul_(ranks.world()[1]))
        return ((1 - rho) * weight).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream, None, None, None, None
