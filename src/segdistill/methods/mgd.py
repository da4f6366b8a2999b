"""Masked generative distillation: from a masked map, the student's features regenerate the teacher's."""

from __future__ import annotations

from torch import Tensor

from segdistill.core.numbers import NonNegative, Share
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method
from segdistill.methods.parts.connectors import Source, maps_of
from segdistill.methods.parts.generation import MaskedGenerator
from segdistill.methods.parts.squared import squared_distance


class MGD(Method):
    """Features with most positions hidden have to generate all of the teacher's.

    Good for a student that has to learn features, not copy them; classes may differ.

    L = weight / N * sum over n, channels, positions of (generator(mask * align(f_s)) - f_t)^2,  f_t (N,C_t,h,w)
    mask (N,1,h,w) is 0 with probability `masked` and drawn at every step; align is a learned 1x1 convolution with bias,
    there only if C_s != C_t; generator is 3x3 convolution, ReLU, 3x3 convolution at C_t channels (18 C_t^2 weights and
    as much computation as a decoder: the costly part). Void positions are hidden from the generator and left out of the
    sum. Grids that differ meet on the finer one. Classes may differ.

    Defaults: the last stage, 0.75 and 2e-5 of the published code, which trains it with cwd on the logits (T = 4, weight
    3): name both methods for that. Source: Yang et al., arXiv 2205.01529.

    Args:
        source: the maps f: "features" (the last backbone stage) or "embedding" (the decoder's).
        masked: share of positions that are hidden.
        weight: of the term; a sum over C_t, h and w, so it grows with all three.
        as_published: void positions count as well.
    """

    # As the generator learns its gradient grows to four times what is measured in the first steps. On streets a share
    # of 1 lost 1.8 mIoU, 0.25 lost 1.0, and 0.1 gained 0.9 (benchmarks/results/streets_medium.md).
    share = 0.1

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
        self.weight = weight
        self.as_published = as_published
        self.generate = MaskedGenerator(maps_of(student, source), maps_of(teacher, source), masked=masked)

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """The term on the finer of the two grids; which positions are hidden is drawn anew.

        Args:
            student: its `source` (N,C_s,h,w) is read.
            teacher: its `source` (N,C_t,h',w').
            label: (N,H,W), 255 is left out; None: all positions count.

        Returns:
            "mgd", a sum over channels and positions.
        """
        # Resizing a map and mixing its channels commute, and the aligned map may be the wider one.
        f_s, f_t = finer(maps_of(student, self.source), maps_of(teacher, self.source))
        valid = self.counted(label, f_s)
        return {"mgd": self.weight / len(f_s) * squared_distance(self.generate(f_s, valid), f_t, valid)}
