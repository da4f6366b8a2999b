"""Structured knowledge distillation: single pixels, and the similarities between places of the image."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from segdistill.core.numbers import Count, NonNegative
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method
from segdistill.methods.kd import KD


class SKDS(Method):
    """Pixels' class distributions and the similarities of all pairs of places imitate the teacher's.

    Good for the layout of a scene: how alike places are to each other.

      pixel = pixel_weight * mean over pixels of KL( softmax_K(z_t) || softmax_K(z_s) ), logits z (N,K,h,w)
      pair = pair_weight * 1/N * sum over images of 1/n^2 * sum over places i, j of ( cos_ij,s - cos_ij,t )^2
    cos_ij: cosine of the embeddings (N,D,h,w) of two of the n places, max-pooled before; channels may differ. Void
    positions are left out of the pooling, places that are all void out of the pairs. Grids that differ meet on the
    finer one. The holistic term is the method `adversary`: method=[skds, adversary].

    Defaults: pixel 10 and pair 0.5 with "regions" (script of the authors), 1 and 10 with "dense" (CIRKD's scripts).
    Source: Liu et al., "Structured Knowledge Distillation for Semantic Segmentation", CVPR 2019, arXiv 1903.04197.

    Args:
        places: "regions" are windows of `region` times the grid's height and width, so 2 x 2 or 3 x 3 places by
            default; "dense" are windows of `pool` x `pool` positions, so n = h w / 4 by default and n^2 numbers an
            image, none of which are kept for the backward pass. The two are different losses.
        region: share of the grid's height and width, with "regions".
        pool: side of a window in positions, with "dense".
        pixel_weight: of the pixels' term; null: 10 with "regions", 1 with "dense".
        pair_weight: of the pairs' term; null: 0.5 with "regions", 10 with "dense".
        as_published: void positions count; with "regions" the lengths in the cosine are constants for the gradient, and
            `pixel` is the cross-entropy with the teacher, summed over the images.
    """

    needs: frozenset[str] = frozenset({"logits", "embedding"})

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        places: Literal["regions", "dense"] = "regions",
        region: Annotated[float, Field(gt=0, le=1)] = 0.5,
        pool: Count = 2,
        pixel_weight: NonNegative | None = None,
        pair_weight: NonNegative | None = None,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes)
        self.places = places
        self.region = region
        self.pool = pool
        self.pixel_weight = pixel_weight if pixel_weight is not None else (10.0 if places == "regions" else 1.0)
        self.pair_weight = pair_weight if pair_weight is not None else (0.5 if places == "regions" else 10.0)
        self.as_published = as_published
        self.kd = KD(student, teacher, num_classes, weight=1.0, as_published=as_published)

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """Both terms, each on the finer of its two grids.

        Args:
            student: logits (N,K,h,w) and embedding (N,C_s,h,w).
            teacher: logits (N,K,h',w') and embedding (N,C_t,h',w').
            label: (N,H,W), 255 is left out; None: all positions count.

        Returns:
            "skds/pixel" and "skds/pair".
        """
        return {
            "skds/pixel": self.pixel_weight * self._pixel(student, teacher, label),
            "skds/pair": self.pair_weight * self._pair(student.embedding, teacher.embedding, label),
        }

    def _pixel(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> Tensor:
        if not (self.as_published and self.places == "regions"):
            return self.kd.terms(student, teacher, label)["kd"]
        z_s, z_t = finer(student.logits, teacher.logits)
        return -(z_t.softmax(1) * z_s.log_softmax(1)).sum() / z_s[0, 0].numel()

    def _pair(self, f_s: Tensor, f_t: Tensor, label: Tensor | None) -> Tensor:
        f_s, f_t = finer(f_s, f_t)
        valid = self.counted(label, f_s)
        window = (self.pool, self.pool)
        if self.places == "regions":
            window = max(1, int(f_s.shape[-2] * self.region)), max(1, int(f_s.shape[-1] * self.region))
        (x_s, count), (x_t, _) = (self._places(f, valid, window) for f in (f_s, f_t))
        per_image: Tensor = _GramDistance.apply(x_s, x_t)
        return (per_image / count.square()).mean()

    def _places(self, maps: Tensor, valid: Tensor | None, window: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Unit vectors (N,D,n) of the places, zero where all is void, and how many are not (N,), at least 1."""
        # Adding -inf, unlike filling with it, keeps the maps' layout in memory, without which pooling is slow.
        seen = maps if valid is None else maps + valid.to(maps.dtype).log()
        pooled = F.max_pool2d(seen, window, window, ceil_mode=True).flatten(2)
        void = pooled[:, :1].isneginf()
        pooled = pooled.masked_fill(void, 0.0)
        count = (~void).sum((1, 2)).clamp_min(1)
        if self.as_published and self.places == "regions":
            return pooled / (torch.linalg.vector_norm(pooled, dim=1, keepdim=True).detach() + 1e-8), count
        return F.normalize(pooled, dim=1), count


# For vectors x_1, x_2 of D numbers of two places, with n = 2:
#
#   gap (n,n) = | x_1.x_1  x_1.x_2 |  of the student  -  the same of the teacher;   distance = sum of gap^2
#               | x_2.x_1  x_2.x_2 |
#   gradient (D,n) = 4 (x_1 x_2) @ gap, since each product stands twice in the symmetric matrix
#
# The gradient is made while `gap` is there. Places are many (n = h w / 4), and D n numbers are kept in place of n n.
class _GramDistance(torch.autograd.Function):
    """(N,): sum over i, j of (x_s,i . x_s,j - x_t,i . x_t,j)^2 of vectors (N,D,n); the n x n products are not kept."""

    @staticmethod
    def forward(ctx: Any, x_s: Tensor, x_t: Tensor) -> Tensor:
        gap = torch.baddbmm(x_t.mT @ x_t, x_s.mT, x_s, beta=-1)
        ctx.save_for_backward(4 * x_s @ gap)
        return gap.square_().sum((1, 2))

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return upstream[:, None, None] * gradient, None
