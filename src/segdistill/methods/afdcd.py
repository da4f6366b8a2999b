"""Augmentation-free dense contrast: a regenerated map, and which of a patch's vectors belongs to which."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.errors import RecipeError
from segdistill.core.numbers import Count, NonNegative, Positive, Share
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method, mean_where
from segdistill.methods.parts.connectors import Source, maps_of
from segdistill.methods.parts.generation import Mask, MaskedGenerator
from segdistill.methods.parts.squared import squared_distance


class AfDCD(Method):
    """From a masked map the student's features regenerate the teacher's, and match them vector by vector.

    Good for pairs whose features are too unlike to be matched position by position; classes may differ.

      generation = generation_weight / N * sum over n, channels, positions of (g - f_t)^2,  g = generator(f_s), as `mgd`
      contrast   = contrast_weight * mean over positions of sum over groups of
                   -log( exp(s(v, v+)) / (exp(s(v, v+)) + sum over v- of exp(s(v, v-))) ),  s(a, b) = -|a - b|_1 / tau
    The maps g and f_t (N,C_t,h,w) are reduced by max pooling, their channels cut into M groups and their space into
    patches of `patch` x `patch` positions. v is a vector of C_t / M channels of g, v+ the teacher's of the same group
    and position, v- those of all other groups at any position of the same patch. Only M and the patch bound the cost
    of the contrast, (M patch^2)^2 distances a patch; the generator costs more. Void positions are hidden from the
    generator, pooled over, and neither vectors nor negatives. Grids that differ meet on the finer one. Classes may
    differ.

    Defaults: the Cityscapes script (ADE20K 1e-6 and 0.04, COCO-Stuff 5e-6 and 0.005, VOC 1e-6 and 0.005, CamVid 8e-6
    and 0.01 with pool=1), which adds kd (weight 1, or 0.5 for ADE20K and COCO-Stuff): name both methods for that. It
    clips the generator's gradient at 15; here `clip_grad` is the run's.
    Source: Fan et al., "Augmentation-free Dense Contrastive Knowledge Distillation", NeurIPS 2023.

    Args:
        source: the maps: "features" (the last backbone stage) or "embedding" (the decoder's).
        generation_weight: of a sum over C_t, h and w, so it grows with all three.
        contrast_weight: of the contrast.
        masked: share of positions that are hidden from the generator, with mask "random".
        mask: "random", drawn at every step, or "center", the middle third of both axes.
        enhanced: whether the generator is the mean of two branches, of two and of three layers.
        pool: window of the max pooling, 1 for none; smaller where a patch would not fit.
        groups: M; the next smaller number that divides C_t is taken.
        patch: side of a patch in pooled positions; what is left of one at the border is cut off.
        tau: temperature of the contrast.
        as_published: void positions count as well.

    Raises:
        RecipeError: no number of groups but 1 divides C_t.
    """

    share = 0.25  # less than 1 for its generator, as `mgd`

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        source: Source = "features",
        generation_weight: NonNegative = 2e-6,
        contrast_weight: NonNegative = 0.005,
        masked: Share = 0.75,
        mask: Mask = "random",
        enhanced: bool = False,
        pool: Count = 4,
        groups: Count = 16,
        patch: Count = 4,
        tau: Positive = 0.07,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes, frozenset({source}))
        self.source = source
        self.generation_weight = generation_weight
        self.contrast_weight = contrast_weight
        self.pool = pool
        self.patch = patch
        self.tau = tau
        self.as_published = as_published
        f_s, f_t = maps_of(student, source), maps_of(teacher, source)
        self.generate = MaskedGenerator(f_s, f_t, masked=masked, mask=mask, enhanced=enhanced)
        channels = f_t.shape[1]
        self.groups = next(m for m in range(min(groups, channels), 0, -1) if channels % m == 0)
        if self.groups == 1 and contrast_weight:
            raise RecipeError(
                f"Method 'afdcd' contrasts groups of channels, and no number of groups from 2 to {groups} divides the "
                f"teacher's {channels}. Set method.afdcd.groups to a larger divisor, or contrast_weight=0."
            )

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """Both terms on the finer of the two grids.

        Args:
            student: its `source` (N,C_s,h,w) is read.
            teacher: its `source` (N,C_t,h',w').
            label: (N,H,W), 255 is left out; None: all positions count.

        Returns:
            "afdcd/generation", a sum over channels and positions, and "afdcd/contrast", a mean over positions.
        """
        f_s, f_t = finer(maps_of(student, self.source), maps_of(teacher, self.source))
        valid = self.counted(label, f_s)
        generated = self.generate(f_s, valid)
        return {
            "afdcd/generation": self.generation_weight / len(f_s) * squared_distance(generated, f_t, valid),
            "afdcd/contrast": self.contrast_weight * self._contrast(generated, f_t, valid),
        }

    def _contrast(self, generated: Tensor, f_t: Tensor, valid: Tensor | None) -> Tensor:
        if valid is None:
            valid = torch.ones_like(f_t[:, :1], dtype=torch.bool)
        (v_s, labelled_s), (v_t, _) = (self._vectors(*self._pooled(maps, valid)) for maps in (generated, f_t))
        similarity = -torch.cdist(v_s, v_t, p=1) / self.tau  # (B,V,V): rows the student's vectors, columns the keys
        group = torch.arange(self.groups, device=f_t.device).repeat_interleave(v_s.shape[1] // self.groups)
        same = torch.eye(len(group), dtype=torch.bool, device=f_t.device)
        # The own key is always there, so that a row without negatives has the loss 0, not -inf - -inf.
        key = same | ((group[:, None] != group) & labelled_s[:, None])
        positive = similarity.diagonal(dim1=1, dim2=2)
        return self.groups * mean_where(_logsumexp(similarity.masked_fill(~key, -torch.inf)) - positive, labelled_s)

    def _pooled(self, maps: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (N,C,h,w) by max pooling of the positions that are `valid` (N,1,h,w), and which windows held one."""
        size = max(1, min(self.pool, *(side // self.patch for side in maps.shape[-2:])))
        if size == 1:
            return torch.where(valid, maps, 0.0), valid
        held = F.max_pool2d(valid.to(maps.dtype), size) > 0
        return torch.where(held, F.max_pool2d(maps + valid.to(maps.dtype).log(), size), 0.0), held

    def _vectors(self, maps: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (N,C,h,w) as vectors (B,V,C/M) of the B patches, group by group; which of them are `valid`: (B,V)."""
        height, width = (min(self.patch, side) for side in maps.shape[-2:])

        def patches(x: Tensor, groups: int) -> Tensor:
            x = x[..., : x.shape[-2] // height * height, : x.shape[-1] // width * width]
            x = x.unflatten(3, (-1, width)).unflatten(2, (-1, height)).unflatten(1, (groups, -1))
            return x.permute(0, 3, 5, 1, 4, 6, 2).flatten(3, 5).flatten(0, 2)  # N,M,C/M,rows,height,columns,width

        return patches(maps, self.groups), patches(valid, 1)[..., 0].repeat(1, self.groups)


def _logsumexp(x: Tensor) -> Tensor:
    """Over the last axis; each row has a finite number."""
    # A processor takes many times as long for an exponential that is 0, or nearly, in float32. Here none is:
    #
    #   x                  -5      -7      -300       -inf
    #   x - top             0      -2      -295       -inf
    #   clamped             0      -2       -80        -80
    #   exp                 1     0.1      1e-35      1e-35    beside 1 lost as well, in float64 too
    top = x.detach().amax(-1, keepdim=True)
    return (x - top).clamp_min(-80).exp().sum(-1).log() + top[..., 0]
