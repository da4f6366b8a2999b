"""Attention transfer: where a feature map is strong, whatever its channels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from segdistill.core.numbers import NonNegative
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method
from segdistill.methods.parts import ranks
from segdistill.methods.parts.connectors import Source, maps_of


class AT(Method):
    """The map of feature energy imitates the teacher's.

    Good for a first try with features: no connector is learned, and channels and classes may differ.

    L = weight * mean over n, positions of (a_s - a_t)^2,  a = e / |e|,  e(position) = mean over channels of f^2
    f (N,C,h,w) is the embedding or the last backbone stage; |e| is the L2 norm over the positions of an image. No
    learned part; channels and classes may differ. Void positions are left out of the norm and of the mean; all void
    gives 0. Where grids differ the energies e meet on the finer one.

    Defaults: embedding and weight 10000 of CIRKD's scripts, which use it with kd. Source: Zagoruyko and Komodakis,
    arXiv 1612.03928.

    Args:
        source: the maps f: "embedding" (the decoder's) or "features" (the last backbone stage).
        weight: of the term; large, because a is about 1 / sqrt(h w).
        as_published: void positions count as well.
    """

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        source: Source = "embedding",
        weight: NonNegative = 10_000.0,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes, frozenset({source}))
        self.source = source
        self.weight = weight
        self.as_published = as_published

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """The term on the finer of the two grids.

        Args:
            student: its `source` (N,C_s,h,w) is read.
            teacher: its `source` (N,C_t,h',w').
            label: (N,H,W), 255 is left out; None: all positions count.

        Returns:
            "at".
        """
        e_s, e_t = finer(*(energy(maps_of(output, self.source)) for output in (student, teacher)))
        valid = self.counted(label, e_s)
        if valid is None:
            return {"at": self.weight * (_unit(e_s) - _unit(e_t)).square().mean()}
        gap = _unit(e_s * valid) - _unit(e_t * valid)
        return {"at": self.weight * gap.square().sum() / ranks.mean_count(valid.sum())}


def energy(maps: Tensor) -> Tensor:
    """Mean over the channels of the squares.

    Args:
        maps: (N,C,h,w).

    Returns:
        (N,1,h,w).
    """
    return maps.square().mean(1, keepdim=True)


def _unit(energy: Tensor) -> Tensor:
    """(N,1,h,w) -> (N,h*w) of L2 norm 1; an image of zeros stays zero."""
    return F.normalize(energy.flatten(1), dim=1)
