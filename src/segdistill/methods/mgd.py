"""Masked generative distillation: from a masked map, the student's features regenerate the teacher's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segdistill.constraints import NonNegative, Share
from segdistill.methods.base import Method, labelled
from segdistill.methods.connectors import Source, maps_of
from segdistill.outputs import SegOutput, finer


class MGD(Method):
    """Features with most positions hidden have to generate all of the teacher's.

    L = weight / N * sum over n, channels, positions of (generator(mask * align(f_s)) - f_t)^2,  f_t (N,C_t,h,w)
    mask (N,1,h,w) is 0 with probability `masked` and drawn at every step; align is a learned 1x1 convolution with bias,
    there only if C_s != C_t; generator is 3x3 convolution, ReLU, 3x3 convolution at C_t channels (18 C_t^2 weights and
    as much computation as a decoder: the dear part). Void positions are hidden from the generator and left out of the
    sum. Grids that differ meet on the finer one. Classes may differ.

    source: "features" (the last backbone stage) or "embedding". masked: share of positions hidden. weight: of the term;
    a sum over C_t, h and w, so it grows with all three. as_published: void positions count as well.
    Defaults: the last stage, 0.75 and 2e-5 of the published code, which trains it with cwd on the logits (T = 4, weight
    3): name both methods for that. Source: Yang et al., arXiv 2205.01529.
    """

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        source: Source = "features",
        masked: Share = 0.75,
        weight: NonNegative = 2e-5,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes, frozenset({source}))
        self.source = source
        self.masked = masked
        self.weight = weight
        self.as_published = as_published
        c_s, c_t = maps_of(student, source).shape[1], maps_of(teacher, source).shape[1]
        self.align = nn.Identity() if c_s == c_t else nn.Conv2d(c_s, c_t, 1)
        self.generator = nn.Sequential(
            nn.Conv2d(c_t, c_t, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(c_t, c_t, 3, padding=1)
        )

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        f_s, f_t = finer(self.align(maps_of(student, self.source)), maps_of(teacher, self.source))
        seen = torch.rand(len(f_s), 1, *f_s.shape[2:], device=f_s.device) <= 1 - self.masked
        valid = None if self.as_published or label is None else labelled(label, f_s)
        if valid is not None:
            seen = seen & valid
        gap = (self.generator(f_s * seen) - f_t).square().sum(1, keepdim=True)
        if valid is not None:
            gap = gap * valid
        return {"mgd": self.weight * gap.sum() / len(gap)}
