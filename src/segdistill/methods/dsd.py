"""Double similarity distillation: between the layers of a network at each pixel, and between its classes."""

from __future__ import annotations

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.numbers import NonNegative, Positive
from segdistill.core.outputs import SegOutput, finer, resize
from segdistill.methods.at import energy
from segdistill.methods.base import Method
from segdistill.methods.parts import ranks


class DSD(Method):
    """How attention changes from layer to layer, and which classes share their places, imitate the teacher.

    Good for pairs of one family, whose stages correspond.

    Of each map x_i in [auxiliary logits,] embedding, logits, of shape (N,C_i,h,w):
      a_i = unit over positions of the mean over channels of x_i^2;  r_ij = unit over positions of a_j - a_i, i < j
      psd = psd_weight * mean over pairs (i,j), images and positions of (r_ij,s - r_ij,t)^2
    Of the logits, averaged over 2 x 2 positions and z of shape (N,K,h/2,w/2) then:
      P = softmax over positions of z / T;  M = P P^T (N,K,K);  csd = csd_weight * mean (M_s - M_t)^2
    There is nothing to learn, channels may differ, and attention maps of other grids are raised to the finest one. The
    auxiliary logits count if both networks give them. Void positions are left out of the attention, the mean, the
    averages and the softmax.

    csd is of the order 1/(h w)^2: at its published weight it hardly acts. As loud as psd it does harm (6.7 mIoU on
    streets), so where no weight is set only psd is measured beside the task.
    Defaults: weights 1000 and 10, T = 4 of CIRKD's scripts, which use no `kd` beside it.
    Source: Feng et al., "Double Similarity Distillation for Semantic Image Segmentation", TIP 2021.

    Args:
        psd_weight: of the pixels' similarity.
        csd_weight: of the classes' similarity.
        temperature: T > 0 of the classes' softmax.
        auxiliary: whether a teacher that has an auxiliary head uses it, as in CIRKD.
        as_published: void positions count; and a student without auxiliary logits whose teacher gives them repeats its
            logits in their place, as the code does for its mobile students. That pair of equal maps is constant here;
            in the code it has a huge gradient that cancels and takes smaller ones with it.
    """

    needs: frozenset[str] = frozenset({"logits", "embedding"})
    unmeasured = frozenset({"dsd/csd"})

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        psd_weight: NonNegative = 1000.0,
        csd_weight: NonNegative = 10.0,
        temperature: Positive = 4.0,
        auxiliary: bool = False,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes, self.needs | {"auxiliary"} if auxiliary else None)
        self.psd_weight = psd_weight
        self.csd_weight = csd_weight
        self.temperature = temperature
        self.as_published = as_published

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """Both terms.

        Args:
            student: embedding (N,C_s,h,w), logits (N,K,h,w), and auxiliary logits if it gives some.
            teacher: the same of the teacher.
            label: (N,H,W), 255 is left out; None: all positions count.

        Returns:
            "dsd/psd" and "dsd/csd".
        """
        return {
            "dsd/psd": self.psd_weight * self._layers(student, teacher, label),
            "dsd/csd": self.csd_weight * self._classes(student.logits, teacher.logits, label),
        }

    def _layers(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> Tensor:
        maps_s, maps_t = [student.embedding, student.logits], [teacher.embedding, teacher.logits]
        if teacher.auxiliary is not None and (student.auxiliary is not None or self.as_published):
            maps_s.insert(0, student.logits if student.auxiliary is None else student.auxiliary)
            maps_t.insert(0, teacher.auxiliary)
        height, width = (max(x.shape[axis] for x in maps_s + maps_t) for axis in (-2, -1))
        finest = maps_s[0].new_empty(1, 1, height, width)
        valid = self.counted(label, finest)
        if valid is None:
            valid = torch.ones_like(finest, dtype=torch.bool)
        attention_s, attention_t = ([_attention(x, valid) for x in maps] for maps in (maps_s, maps_t))
        total = maps_s[0].new_zeros(())
        pairs = list(combinations(range(len(maps_s)), 2))
        for i, j in pairs:
            r_t = _unit(attention_t[j] - attention_t[i])
            same = maps_s[i] is maps_s[j]
            r_s = torch.zeros_like(r_t) if same else _unit(attention_s[j] - attention_s[i])
            total = total + (r_s - r_t).square().sum()
        count = valid.expand(len(maps_s[0]), -1, -1, -1).sum()
        return total / (len(pairs) * ranks.mean_count(count))

    def _classes(self, z_s: Tensor, z_t: Tensor, label: Tensor | None) -> Tensor:
        z_s, z_t = finer(z_s, z_t)
        valid = self.counted(label, z_s)
        return (self._overlap(z_s, valid) - self._overlap(z_t, valid)).square().mean()

    def _overlap(self, z: Tensor, valid: Tensor | None) -> Tensor:
        """(N,K,K): inner products of the classes' spatial distributions; 0 for an image that is all void."""
        if valid is None:
            probability = (_halved(z) / self.temperature).flatten(2).softmax(2)
        else:
            share = _halved(valid.to(z.dtype))
            cells = _halved(z * valid) / torch.where(share > 0, share, 1.0)
            nonvoid = valid.flatten(1).any(1)[:, None, None, None]
            cells = (cells / self.temperature).masked_fill((share == 0) & nonvoid, -torch.inf)
            probability = cells.flatten(2).softmax(2) * nonvoid[..., 0]
        return probability @ probability.mT


def _halved(maps: Tensor) -> Tensor:
    """Averages of 2x2 positions; windows that reach over the border average what is inside."""
    return F.avg_pool2d(maps, 2, 2, ceil_mode=True)


def _attention(maps: Tensor, valid: Tensor) -> Tensor:
    """(N,P): mean square of the channels on the grid of `valid` (1 or N,1,h,w), 0 at void, of unit length."""
    strength = resize(energy(maps), (valid.shape[-2], valid.shape[-1]))
    return _unit((strength * valid).flatten(1))


def _unit(x: Tensor) -> Tensor:
    """Rows (N,P) of unit length; a zero row stays zero and gets no gradient, where a bare division gives 1e12."""
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return torch.where(length > 1e-12, x / length.clamp_min(1e-12), 0.0)
