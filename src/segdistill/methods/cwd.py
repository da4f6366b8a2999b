"""Channel-wise distillation: where in the image each channel is active."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from segdistill.core.numbers import NonNegative, Positive
from segdistill.core.outputs import SegOutput, finer
from segdistill.methods.base import Method, divergence
from segdistill.methods.parts.connectors import connector


class CWD(Method):
    """Every channel's spatial distribution imitates the teacher's.

    Good for most pairs, with one weight to choose; with source=embedding classes may differ.

    L = weight * T^2 / (N C) * sum over n, c of KL( softmax_hw(x_t / T) || softmax_hw(x_s / T) ), x of shape (N,C,h,w):
    the logits (C = K), or the embedding, which a learned 1x1 convolution without bias brings to the teacher's channel
    count where they differ. Void positions are left out of the softmax. Grids that differ meet on the finer one.
    With the embedding, teacher and student may know different classes.

    Defaults: T = 4, weights of CIRKD's scripts. Source: Shu et al., arXiv 2011.13256.

    Args:
        source: the maps x: "logits" or "embedding" (the decoder's).
        temperature: T > 0.
        weight: of the term; null: 3 for logits, 50 for the embedding.
        as_published: void positions count, and the embedding's divisor is the student's channel count before the
            convolution (a bug of CIRKD's code that doubles or quadruples the term).
    """

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        source: Literal["logits", "embedding"] = "logits",
        temperature: Positive = 4.0,
        weight: NonNegative | None = None,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes, frozenset({source}))
        self.source = source
        self.temperature = temperature
        self.weight = weight if weight is not None else (3.0 if source == "logits" else 50.0)
        self.as_published = as_published
        self.connector = connector(getattr(student, source), getattr(teacher, source))

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """The term on the finer of the two grids.

        Args:
            student: its `source` (N,C,h,w) is read.
            teacher: its `source` (N,C_t,h',w').
            label: (N,H,W), 255 is left out; None: all positions count.

        Returns:
            "cwd".
        """
        x_s: Tensor = getattr(student, self.source)
        divisor = x_s.shape[1]
        x_s, x_t = finer(self.connector(x_s), getattr(teacher, self.source))
        per_channel = spatial_divergence(x_t, x_s, self.counted(label, x_s), self.temperature)
        if not self.as_published:
            divisor = x_s.shape[1]
        return {"cwd": self.weight * self.temperature**2 * per_channel.sum() / (x_s.shape[0] * divisor)}


def spatial_divergence(x_t: Tensor, x_s: Tensor, valid: Tensor | None, temperature: float) -> Tensor:
    """KL(softmax(x_t / T) || softmax(x_s / T)) over the positions of each channel.

    Args:
        x_t: the teacher's maps (N,C,h,w).
        x_s: the student's maps (N,C,h,w).
        valid: bool (N,1,h,w), the positions of the softmax; None: all.
        temperature: T > 0.

    Returns:
        (N,C); 0 for an image without a position.
    """
    # An image that is all void keeps its positions, so that the softmax stays finite, and is zeroed below.
    keep = None if valid is None else (valid | ~valid.any(dim=(-2, -1), keepdim=True)).flatten(2)
    per_channel = divergence(x_t.flatten(2), x_s.flatten(2), dim=2, temperature=temperature, keep=keep)
    return per_channel if valid is None else per_channel * valid.any(dim=-1).any(dim=-1)
