"""Attention-guided distillation: both networks' features are refined by attention, then compared as wholes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segdistill.core.numbers import NonNegative
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method, mean_where
from segdistill.methods.parts.attention import Attention
from segdistill.methods.parts.connectors import Source, maps_of
from segdistill.methods.parts.projection import KnownBatchNorm


class AttnFD(Method):
    """The refined features, as one vector of unit length an image, equal the teacher's.

    Good for decoders whose embedding says more than its logits; classes may differ.

    L = weight * mean over images of | x / |x| - y / |y| |^2,  x = BN(conv1x1(refine(f_s))),  y = refine(f_t)
    f_s (N,C_s,h,w), f_t (N,C_t,h,w). refine is CBAM, learned for both networks: f times a weight per channel (from its
    mean and its maximum over positions, through one small network), times a weight per position (7x7 convolution of
    mean and maximum over channels). Both learn from L alone. Void positions are 0 in x and y, and enter neither the
    attention nor the batch norm. All void gives 0. Grids that differ meet on the finer one. Classes may differ.

    Default: weight 2 of the authors' code. Source: Mansourian et al., "Attention-guided feature distillation for
    semantic segmentation", arXiv 2403.05451; attention after Woo et al., arXiv 1807.06521.

    Args:
        source: the maps f: "features" (the last backbone stage) or "embedding" (the decoder's); the authors sum over
            several stages.
        attention: whether maps are refined; false: they are compared as they are.
        weight: of the term.
        as_published: one length for the whole batch, whose square is then divided by N, so that the value shrinks with
            the batch (it is about N times smaller), and void counts.
    """

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        source: Source = "features",
        attention: bool = True,
        weight: NonNegative = 2.0,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes, frozenset({source}))
        self.source = source
        self.weight = weight
        self.as_published = as_published
        c_s, c_t = maps_of(student, source).shape[1], maps_of(teacher, source).shape[1]
        self.refine_student = Attention(c_s) if attention else _Untouched()
        self.refine_teacher = Attention(c_t) if attention else _Untouched()
        self.connector = nn.Sequential(nn.Conv2d(c_s, c_t, 1, bias=False), KnownBatchNorm(c_t))

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """The term on the finer of the two grids; the mean is over the images that have a label.

        Args:
            student: its `source` (N,C_s,h,w) is read.
            teacher: its `source` (N,C_t,h',w'); its attention learns, the maps do not.
            label: (N,H,W), 255 is left out; None: all positions count.

        Returns:
            "attnfd".
        """
        f_s, f_t = finer(maps_of(student, self.source), maps_of(teacher, self.source))
        valid = self.counted(label, f_s)
        if valid is None:
            valid = torch.ones_like(f_s[:, :1], dtype=torch.bool)
        conv, norm = self.connector
        x = norm(conv(self.refine_student(f_s, valid)), valid)
        y = self.refine_teacher(f_t, valid)
        if self.as_published:
            return {"attnfd": self.weight * _unit_gap(x, y, (0, 1, 2, 3)) / len(x)}
        return {"attnfd": self.weight * mean_where(_unit_gap(x, y, (1, 2, 3)), valid.flatten(1).any(1))}


def _unit_gap(x: Tensor, y: Tensor, dims: tuple[int, ...]) -> Tensor:
    """| x / |x| - y / |y| |^2 along `dims` of maps (N,C,h,w); a map of zeros stays zero."""
    x, y = (each / torch.linalg.vector_norm(each, dim=dims, keepdim=True).clamp_min(1e-12) for each in (x, y))
    return (x - y).square().sum(dims)


class _Untouched(nn.Module):
    def forward(self, maps: Tensor, valid: Tensor) -> Tensor:
        return maps * valid
