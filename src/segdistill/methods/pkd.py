"""PKD: features whose channels correlate with the teacher's, whatever their mean and scale."""

from __future__ import annotations

import torch
from torch import Tensor

from segdistill.constraints import NonNegative
from segdistill.methods import ranks
from segdistill.methods.base import Method, labelled
from segdistill.methods.connectors import Source, connector, maps_of
from segdistill.outputs import SegOutput, finer


class PKD(Method):
    """Features equal the teacher's after each channel is standardised over the batch.

    L = weight / 2 * mean over n, channels, positions of (u(f_s) - u(f_t))^2,  u(f) = (f - mean) / (std + 1e-6)
    f (N,C,h,w); mean and unbiased std of a channel are over all positions of all images, so L is about 1 minus the
    channels' Pearson correlation. Void positions are left out of all three; all void gives 0. Channels that differ
    meet through a learned 1x1 convolution without bias (the published code wants them equal). Grids that differ meet on
    the finer one. Classes may differ.

    source: "embedding" or "features" (the last backbone stage). weight: of the term. as_published: void positions count
    as well.
    Defaults: weight 1 of the formula; the source is this project's choice, as the paper is about detectors. Source: Cao
    et al., arXiv 2207.02039.
    Typical on CamVid (mobile_pair): at step 10 pkd 0.41 to 1.7; at step 300 pkd 0.1 to 0.43.
    """

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        source: Source = "embedding",
        weight: NonNegative = 1.0,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes, frozenset({source}))
        self.source = source
        self.weight = weight
        self.as_published = as_published
        self.connector = connector(maps_of(student, source), maps_of(teacher, source))

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        f_s, f_t = finer(self.connector(maps_of(student, self.source)), maps_of(teacher, self.source))
        valid = None if self.as_published or label is None else labelled(label, f_s)
        return {"pkd": self.weight / 2 * standardised_gap(f_s, f_t, valid, (0, 2, 3), eps=1e-6)}


def standardised_gap(f_s: Tensor, f_t: Tensor, valid: Tensor | None, dims: tuple[int, ...], eps: float) -> Tensor:
    """Mean square of the difference of (N,C,h,w) maps that are standardised along `dims`.

    Only over positions where `valid` (N,1,h,w) is True; none gives 0.
    """
    keep = torch.ones_like(f_s[:, :1]) if valid is None else valid.to(f_s.dtype)
    gap = _standardised(f_s, keep, dims, eps) - _standardised(f_t, keep, dims, eps)
    return gap.square().sum() / (ranks.mean_count(keep.sum()) * f_s.shape[1])


def _standardised(f: Tensor, keep: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """(f - mean) / (unbiased std + eps) over the positions to `keep`, 0 at the others."""
    count = ranks.sum_over(keep, dims)
    centred = (f - ranks.sum_over(f * keep, dims) / count.clamp_min(1)) * keep
    # The norm, unlike a square root, has gradient 0 where it is 0: a constant channel.
    std = ranks.norm_over(centred, dims) / (count - 1).clamp_min(1).sqrt()
    unit: Tensor = centred / (std + eps)
    return unit
