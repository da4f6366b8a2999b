"""Similarity of classes: which score maps of an image resemble each other, as the teacher has it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from segdistill.core.numbers import NonNegative
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method
from segdistill.methods.kd import KD


class AICSD(Method):
    """The similarities of an image's K score maps imitate the teacher's, beside plain distillation.

    Good for data sets with classes that are easily confused, beside what `kd` does.

      pixel      = pixel_weight / K * mean over pixels of KL( softmax_K(z_t) || softmax_K(z_s) )   (`kd`, over K)
      similarity = similarity_weight / (N K) * sum over n and entries of (R_s - R_t)^2,  R (N,K,K)
    R holds the rows of G = Z Z^T, each divided by its length, with Z the image's logits (K,hw). Void positions are 0 in
    Z. All void gives 0. Grids that differ meet on the finer one.

    Defaults: 1 and 1; what weights the authors train with was not looked up. A third term of their code is left out:
    it is written for 21 classes, takes its softmax over the rows of the image, and hands probabilities to a
    function that expects their logarithms. Source: Mansourian et al., "AICSD: Adaptive inter-class similarity
    distillation for semantic segmentation", arXiv 2308.04243.

    Args:
        pixel_weight: of the pixels' term, before it is divided by K.
        similarity_weight: of the similarities' term.
        as_published: void positions count as well.
    """

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        pixel_weight: NonNegative = 1.0,
        similarity_weight: NonNegative = 1.0,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes)
        self.similarity_weight = similarity_weight
        self.as_published = as_published
        weight = pixel_weight / num_classes
        self.kd = KD(student, teacher, num_classes, weight=weight, as_published=as_published)

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """Both terms on the finer of the two grids.

        Args:
            student: logits (N,K,h,w).
            teacher: logits (N,K,h',w').
            label: (N,H,W), 255 is left out; None: all positions count.

        Returns:
            "aicsd/pixel" and "aicsd/similarity".
        """
        z_s, z_t = finer(student.logits, teacher.logits)
        valid = self.counted(label, z_s)
        if valid is not None:
            z_s, z_t = z_s * valid, z_t * valid
        gap = (similarity(z_s) - similarity(z_t)).square().sum() / (z_s.shape[0] * z_s.shape[1])
        return {
            "aicsd/pixel": self.kd.terms(student, teacher, label)["kd"],
            "aicsd/similarity": self.similarity_weight * gap,
        }


def similarity(logits: Tensor) -> Tensor:
    """How alike the score maps of each two classes are: products, each row of unit length.

    Args:
        logits: score maps (N,K,h,w).

    Returns:
        (N,K,K).
    """
    rows = logits.flatten(2)
    return F.normalize(rows @ rows.mT, dim=2)
