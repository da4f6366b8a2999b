"""Boundary-privileged distillation: edges and bodies of the classes are distilled apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.constraints import Count, NonNegative, Positive
from segdistill.methods.base import Method, divergence, labelled
from segdistill.methods.cwd import spatial_divergence
from segdistill.outputs import SegOutput, finer

_BITS = 31  # classes in one int32 word


class BPKD(Method):
    """Near class boundaries the class distribution imitates the teacher's, inside regions the spatial one does.

    M (N,K,h,w), the soft edge mask: label pixels whose (2r+1)^2 window holds class c but not only class c, averaged
    down to the grid of the logits z (N,K,h,w). Void belongs to no class, so its border is an edge.
      edge = edge_weight * alpha / N * sum over n, c of 1/n_c * sum over p of M_cp * KL_p,
             KL_p = KL( softmax_K(M z_t / T) || softmax_K(M z_s / T) ) at position p
      body = body_weight * T^2 / (N K) * sum over n, c of KL( softmax_hw((1-M) z_t / T) || softmax_hw((1-M) z_s / T) )
    n_c = max(1, sum_p M_cp) per image with edge_norm "sum", the number of non-zero M_cp with "count". No T^2 at the
    edge. Void positions count in neither. Grids that differ meet on the finer one.

    edge_radius: r in label pixels. temperature: T > 0 of both terms. as_published: void positions count as well.
    Defaults: weights 20 and 50, alpha 2, width 7 (r = 3), T = 1, as reported of the paper (Liu et al.,
    arXiv 2306.08075, WACV 2024), whose training code was not released; details it leaves open are options here.
    """

    needs: frozenset[str] = frozenset({"logits", "label"})

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        body_weight: NonNegative = 20.0,
        edge_weight: NonNegative = 50.0,
        alpha: NonNegative = 2.0,
        temperature: Positive = 1.0,
        edge_radius: Count = 3,
        edge_norm: Literal["sum", "count"] = "sum",
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes)
        self.num_classes = num_classes
        self.body_weight = body_weight
        self.edge_weight = edge_weight
        self.alpha = alpha
        self.temperature = temperature
        self.edge_radius = edge_radius
        self.edge_norm = edge_norm
        self.as_published = as_published

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        assert label is not None  # Method.forward has refused None: the class needs it
        z_s, z_t = finer(student.logits, teacher.logits)
        grid = (z_s.shape[-2], z_s.shape[-1])
        edge = soft_edges(label, self.num_classes, self.edge_radius, grid).to(z_s.dtype)
        valid = None if self.as_published or label is None else labelled(label, z_s)
        return {
            "bpkd/body": self.body_weight * self._body(z_s, z_t, edge, valid),
            "bpkd/edge": self.edge_weight * self._edge(z_s, z_t, edge, valid),
        }

    def _body(self, z_s: Tensor, z_t: Tensor, edge: Tensor, valid: Tensor | None) -> Tensor:
        per_channel = spatial_divergence(z_t * (1 - edge), z_s * (1 - edge), valid, self.temperature)
        return self.temperature**2 * per_channel.mean()

    def _edge(self, z_s: Tensor, z_t: Tensor, edge: Tensor, valid: Tensor | None) -> Tensor:
        pixels = divergence(z_t * edge / self.temperature, z_s * edge / self.temperature, dim=1)
        share = edge if valid is None else edge * valid
        count = (share > 0).sum((-2, -1)) if self.edge_norm == "count" else share.sum((-2, -1))
        # The divergence of a pixel is the same for every class; a class enters by its share of the pixel.
        weight = (share / count.clamp_min(1)[..., None, None]).sum(1)
        return self.alpha * (weight * pixels).sum() / len(pixels)


def soft_edges(label: Tensor, num_classes: int, radius: int, grid: tuple[int, int]) -> Tensor:
    """Soft edge masks (N,K,*grid) in [0,1] of label maps (N,H,W): dilation minus erosion, averaged down to `grid`.

    The (2 radius + 1)^2 window is clipped at the image border, which is no edge. Up to 31 classes share one int32 a
    pixel: a window's OR is the dilation of all of them, its AND the erosion, without a map of floats a class.
    """
    words = -(-num_classes // _BITS)
    bits = -(-num_classes // words)
    label = label.int()[:, None]
    place = label - bits * torch.arange(words, dtype=torch.int32, device=label.device)[:, None, None]
    known = (label < num_classes) & (place >= 0) & (place < bits)
    word = known.int() << place.clamp(0, bits - 1)
    edges = _window(word, radius, torch.bitwise_or, 0) & ~_window(word, radius, torch.bitwise_and, -1)
    bit = torch.arange(bits, dtype=torch.int32, device=label.device)[:, None, None]
    per_class = (edges[:, :, None] >> bit & 1).float().flatten(1, 2)[:, :num_classes]
    return F.adaptive_avg_pool2d(per_class, grid)


def _window(bits: Tensor, radius: int, combine: Callable[[Tensor, Tensor], Tensor], outside: int) -> Tensor:
    """`combine` over every (2 radius + 1)^2 window; pixels beyond the border are `outside`."""
    width = 2 * radius + 1
    bits = F.pad(bits, (radius, radius, radius, radius), value=outside)
    for axis in (-2, -1):
        reach = 1
        while reach < width:  # a window of 2n pixels is two windows of n, n pixels apart
            step = min(reach, width - reach)
            length = bits.shape[axis] - step
            bits = combine(bits.narrow(axis, 0, length), bits.narrow(axis, step, length))
            reach += step
    return bits
