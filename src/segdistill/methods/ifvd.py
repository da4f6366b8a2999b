"""Intra-class feature variation: how far each pixel is from the centre of its class."""

from __future__ import annotations

import torch
from torch import Tensor

from segdistill.core.numbers import NonNegative
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method, on_grid
from segdistill.methods.parts import ranks

_EPS = 1e-8


class IFVD(Method):
    """Every pixel's similarity to the mean embedding of its class imitates the teacher's.

    Good for classes that vary a lot within an image; it needs labels.

    mu_nc = mean of the embeddings f (N,D,h,w) of the pixels of class c in image n, the class given by the label.
      L = weight * mean over labelled pixels p of ( cos(f_s(p), mu_s(p)) - cos(f_t(p), mu_t(p)) )^2
    mu(p) the centre of the pixel's own class. The student learns through its centres, too. Only similarities are
    compared, so channel counts and class sets may differ. Grids that differ meet on the finer one. A pixel that is
    alone in its class has similarity 1 in both networks and teaches nothing.

    Centres and similarities are products with one-hot labels: N K h w numbers beside the embedding, whatever K is.

    Default: weight 20 of CIRKD's scripts, which add `kd` and `adversary`; the first code has 200, and 50 is reported
    of the paper. Source: Wang et al., "Intra-class Feature Variation Distillation for Semantic Segmentation",
    ECCV 2020.

    Args:
        weight: of the term.
        as_published: void pixels count in the mean's divisor N h w, where they add 0; a crop with much void then
            teaches less.
    """

    needs: frozenset[str] = frozenset({"embedding", "label"})

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        weight: NonNegative = 20.0,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes)
        self.weight = weight
        self.as_published = as_published

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """The term on the finer of the two grids.

        Args:
            student: embedding (N,C_s,h,w).
            teacher: embedding (N,C_t,h',w').
            label: (N,H,W), the classes of the centres; values of K and more are in none, as 255 is. It is needed.

        Returns:
            "ifvd".
        """
        assert label is not None  # Method.forward has refused None: the class needs it
        f_s, f_t = finer(student.embedding, teacher.embedding)
        classes = on_grid(label, f_s).flatten(1)
        nonvoid = classes < self.num_classes
        onehot = torch.zeros(len(classes), self.num_classes, classes.shape[1], dtype=f_s.dtype, device=f_s.device)
        classes = classes.clamp(max=self.num_classes - 1)[:, None]
        onehot.scatter_(1, classes, nonvoid[:, None].to(f_s.dtype))
        gap = similarity(f_s.flatten(2), onehot, classes) - similarity(f_t.flatten(2), onehot, classes)
        count = nonvoid.numel() if self.as_published else ranks.mean_count(nonvoid.sum())
        return {"ifvd": self.weight * (gap.square() * nonvoid).sum() / count}


def similarity(features: Tensor, onehot: Tensor, classes: Tensor) -> Tensor:
    """The cosine of every pixel's features and the centre of its class.

    Args:
        features: (N,D,P) of P pixels.
        onehot: (N,K,P), all 0 for a void pixel.
        classes: int64 (N,1,P); of a void pixel any class.

    Returns:
        (N,P) in [-1,1]; of void pixels, numbers without meaning.
    """
    # Three pixels of classes 0, 1, 0 and two classes, features a, b, c of D numbers:
    #
    #   onehot (2,3)    onehot @ features      centres @ features (2,3)      picked by the pixel's class
    #   1 0 1           a + c                  (a+c).a  (a+c).b  (a+c).c     (a+c).a           (a+c).c
    #   0 1 0           b                      b.a      b.b      b.c                   b.b
    #
    # Each pixel's own centre, (D,3) numbers with a gradient as large, is never made.
    counts = onehot.sum(2)[..., None]
    centres = onehot @ features.mT / (counts + 1e-6)  # (N,K,D)
    lengths = torch.linalg.vector_norm(centres, dim=2, keepdim=True).clamp_min(_EPS)
    product = (centres / lengths @ features).gather(1, classes)[:, 0]
    length: Tensor = torch.linalg.vector_norm(features, dim=1).clamp_min(_EPS)
    cosine: Tensor = product / length
    return cosine
