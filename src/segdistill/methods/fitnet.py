"""FitNet hints: the student's features, through a learned connector, equal the teacher's."""

from __future__ import annotations

from torch import Tensor, nn

from segdistill.core.numbers import NonNegative
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method
from segdistill.methods.parts import ranks
from segdistill.methods.parts.connectors import Source, identity_connector, maps_of
from segdistill.methods.parts.squared import squared_distance


class FitNet(Method):
    """Features regress the teacher's features.

    Good for a baseline of features to compare others with; classes may differ.

    L = weight * mean over n, channels, positions of (connector(f_s) - f_t)^2,  f_t of shape (N,C_t,h,w)
    f is the embedding or the last backbone stage; the connector is a learned 1x1 convolution C_s -> C_t without bias,
    there even if C_s = C_t, where it starts as the identity. Void positions are left out of the mean; all void gives 0.
    Grids that differ meet on the finer one. Classes may differ.

    The value scales with the teacher's feature magnitude, which differs between networks; `canonical` has that removed.
    Defaults: embedding and weight 10 of CIRKD's scripts, which train it jointly, with kd (the paper trains the hint
    first). Source: Romero et al., arXiv 1412.6550.

    Args:
        source: the maps f: "embedding" (the decoder's) or "features" (the last backbone stage).
        weight: of the term.
        as_published: void positions count as well, and the connector always starts random.
    """

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        source: Source = "embedding",
        weight: NonNegative = 10.0,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes, frozenset({source}))
        self.source = source
        self.weight = weight
        self.as_published = as_published
        f_s, f_t = maps_of(student, source), maps_of(teacher, source)
        if as_published:
            self.connector = nn.Conv2d(f_s.shape[1], f_t.shape[1], 1, bias=False)
        else:
            self.connector = identity_connector(f_s, f_t)

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """The term on the finer of the two grids.

        Args:
            student: its `source` (N,C_s,h,w) is read.
            teacher: its `source` (N,C_t,h',w').
            label: (N,H,W), 255 is left out; None: all positions count.

        Returns:
            "fitnet".
        """
        f_s, f_t = finer(self.connector(maps_of(student, self.source)), maps_of(teacher, self.source))
        valid = self.counted(label, f_s)
        count = f_s[:, 0].numel() if valid is None else ranks.mean_count(valid.sum())
        return {"fitnet": self.weight * squared_distance(f_s, f_t, valid) / (count * f_s.shape[1])}
