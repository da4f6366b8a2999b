"""Decoupled knowledge distillation: the labelled class and the other classes are distilled apart."""

from __future__ import annotations

import torch
from torch import Tensor

from segdistill.core.numbers import NonNegative, Positive
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method, divergence, on_grid
from segdistill.methods.parts import ranks


class DKD(Method):
    """Pixel-wise KD in two parts with weights of their own, for each pixel with a label y.

    Good for a teacher that is very sure, of which plain `kd` passes on little beside the label.

      target = target_weight * T^2 * mean of KL( (p_t[y], 1 - p_t[y]) || (p_s[y], 1 - p_s[y]) ),  p = softmax_K(z / T)
      others = others_weight * T^2 * mean of KL( softmax(z_t / T without y) || softmax(z_s / T without y) )
    z of shape (N,K,h,w). Plain KD is target + (1 - p_t[y]) * others in each pixel: where the teacher is sure, it all
    but drops what the teacher says about the other classes. The means are over the pixels that have a label; none gives
    0. Grids that differ meet on the finer one. With two classes `others` is 0.

    Defaults: 1, 0.5 and T = 1, the paper's for ResNet-34 to ResNet-18 on ImageNet; for CIFAR it takes beta 2 to 8 with
    T = 4. The paper is about whole images: pixels, void and grids are this project's reading, so there is no code of
    the paper to reproduce here. Source: Zhao et al., arXiv 2203.08679.

    Args:
        target_weight: alpha of the paper.
        others_weight: beta of the paper.
        temperature: T > 0.
    """

    needs: frozenset[str] = frozenset({"logits", "label"})

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        target_weight: NonNegative = 1.0,
        others_weight: NonNegative = 0.5,
        temperature: Positive = 1.0,
    ) -> None:
        super().__init__(student, teacher, num_classes)
        self.target_weight = target_weight
        self.others_weight = others_weight
        self.temperature = temperature

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """Both terms on the finer of the two grids.

        Args:
            student: logits (N,K,h,w).
            teacher: logits (N,K,h',w').
            label: (N,H,W); values of K and more have no class and are left out, as 255 is. It is needed.

        Returns:
            "dkd/target" and "dkd/others".
        """
        assert label is not None  # Method.forward has refused None: the class needs it
        z_s, z_t = finer(student.logits, teacher.logits)
        target = on_grid(label, z_s)[:, None]
        valid = (target < self.num_classes)[:, 0]
        target = target.clamp(0, self.num_classes - 1)
        (own_s, rest_s), (own_t, rest_t) = (_split(z / self.temperature, target) for z in (z_s, z_t))
        parts = {
            "dkd/target": (self.target_weight, divergence(_two(own_t, rest_t), _two(own_s, rest_s), dim=1)),
            "dkd/others": (self.others_weight, divergence(rest_t, rest_s, dim=1)),
        }
        scale = self.temperature**2 / ranks.mean_count(valid.sum())
        return {name: weight * scale * (pixels * valid).sum() for name, (weight, pixels) in parts.items()}


def _split(z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The scores (N,1,h,w) of class `target`, and all scores (N,K,h,w) with its own at -inf."""
    classes = torch.arange(z.shape[1], device=z.device)[:, None, None]
    return z.gather(1, target), z.masked_fill(classes == target, -torch.inf)


def _two(target: Tensor, rest: Tensor) -> Tensor:
    """(N,2,h,w): the score of a class, and the one score that stands for all others."""
    return torch.cat([target, rest.logsumexp(1, keepdim=True)], 1)
