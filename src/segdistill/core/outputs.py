"""The one type that every network returns and every method reads, and the one place that resizes score maps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class SegOutput:
    """What a segmentation network says about N images.

    Attributes:
        logits: (N,K,h,w) class scores at the head's own stride, not upsampled.
        embedding: (N,D,h,w) the decoder's feature map that the classifier reads.
        features: backbone stages (N,C_i,h_i,w_i), finest first.
        auxiliary: (N,K,h',w') logits of the auxiliary head while training, or where a method asks for them, else None.
        further_auxiliary: (N,K,h',w') logits of the other auxiliary heads, if there are several, while training.
        boundary: Logits of a boundary head while training, else None: (N,1,h',w') whether the labels change there, or
            (N,2,h',w') for no and yes.
    """

    logits: Tensor
    embedding: Tensor
    features: tuple[Tensor, ...]
    auxiliary: Tensor | None = None
    further_auxiliary: tuple[Tensor, ...] = ()
    boundary: Tensor | None = None

    @property
    def auxiliary_maps(self) -> tuple[Tensor, ...]:
        """All auxiliary logits over the classes, the first one first."""
        return () if self.auxiliary is None else (self.auxiliary, *self.further_auxiliary)


def resize(maps: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """Bilinear resize; free when the size is right already.

    Args:
        maps: (N,C,h,w).
        size: (H,W) of the result.
        align_corners: as of `torch.nn.functional.interpolate`.

    Returns:
        (N,C,H,W); `maps` itself if they are of that size.
    """
    if _same_size(maps, size):
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)


def _same_size(maps: Tensor, size: tuple[int, int]) -> bool:
    """Whether maps (N,C,h,w) are of that size; in an export whether they always are, whatever the image's size.

    An export knows sizes as symbols. Asked whether two are equal, it would freeze the answer for the image it is traced
    with, and the file would fail at other sizes.
    """
    pairs = zip(maps.shape[-2:], size, strict=True)
    if torch.compiler.is_exporting():
        from torch.fx.experimental.symbolic_shapes import statically_known_true  # slow to import, and seldom needed

        return all(statically_known_true(have == want) for have, want in pairs)
    return all(have == want for have, want in pairs)


def finer(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps (N,*,h,w) on one grid: each axis takes the finer of the two.

    This is the policy for a teacher and a student of different strides. Going up loses nothing of the finer
    network, where going down would blur the teacher's boundaries before the student sees them.

    Args:
        a: (N,C,h,w).
        b: (N,D,h',w').

    Returns:
        Both with max(h,h') rows and max(w,w') columns.
    """
    size = max(a.shape[-2], b.shape[-2]), max(a.shape[-1], b.shape[-1])
    return resize(a, size), resize(b, size)


def linear_taps(source: int, target: int, *, align_corners: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """What `resize` does along one axis: each position reads `(1 - rest) * x[low] + rest * x[high]`.

    Args:
        source: number of positions before.
        target: number of positions after.
        align_corners: as of `torch.nn.functional.interpolate`.

    Returns:
        low and high, indices (target,) below `source`; rest, (target,), float64, in [0,1].
    """
    if align_corners:
        position = torch.arange(target, dtype=torch.float64) * ((source - 1) / max(1, target - 1))
    else:
        position = ((torch.arange(target, dtype=torch.float64) + 0.5) * (source / target) - 0.5).clamp_min(0)
    low = position.long().clamp_max(source - 1)
    return low, (low + 1).clamp_max(source - 1), position - low
