"""Boundary-privileged distillation: edges and bodies of the classes are distilled apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.numbers import Count, NonNegative, Positive
from segdistill.core.outputs import SegOutput, finer
from segdistill.core.windows import inner_window
from segdistill.methods.base import Method, divergence
from segdistill.methods.cwd import spatial_divergence
from segdistill.methods.parts import ranks

_BITS = 31  # classes in one int32 word


class BPKD(Method):
    """Near class boundaries the class distribution imitates the teacher's, inside regions the spatial one does.

    Good for thin things and borders, where a small student loses most.

    M (N,K,h,w), the soft edge mask: label pixels whose (2r+1)^2 window holds class c but not only class c, averaged
    down to the grid of the logits z (N,K,h,w).
      edge = edge_weight * alpha / N * sum over n, c of 1/n_c * sum over p of M_cp * KL_p,
             KL_p = KL( softmax_K(M z_t / T) || softmax_K(M z_s / T) ) at position p
      body = body_weight * T^2 / (N K) * sum over n, c of KL( softmax_hw((1-M) z_t / T) || softmax_hw((1-M) z_s / T) )
    n_c = max(1, sum_p M_cp). No T^2 at the edge. Void positions count in neither. Grids that differ meet on the finer.

    Defaults: weights 20 and 50, alpha 2, width 7 (r = 3), T = 1, as reported of the paper (Liu et al.,
    arXiv 2306.08075, WACV 2024), whose training code was not released. From `edge_norm` on, the options are what the
    paper leaves open or ablates.

    Args:
        body_weight: of the body's term.
        edge_weight: of the edge's term.
        alpha: a further factor of the edge's term, as the paper writes it.
        temperature: T > 0 of both terms.
        edge_temperature: T of the edge, if another; null: `temperature`.
        edge_radius: r in label pixels; the edge is 2r+1 wide.
        edge_norm: n_c is the "sum" of M_cp, or the "count" of the non-zero ones.
        norm_over: n_c is of each "image", or of the "batch": the sum over its images divided by N.
        class_reduction: the edge's "sum" over classes, or the "mean" over those with an edge in the image.
        void_edges: void belongs to no class, so its border is an edge; false: it is no edge.
        pre_mask: whether M acts on the logits before the edge's softmax.
        post_mask: whether M acts on KL_p after it; without it M is 1 there and in n_c, which makes the edge alpha K
            times the mean of KL_p.
        body_mask: whether 1-M acts on the body's logits; without it the body is CWD.
        as_published: void positions count as well.
    """

    needs: frozenset[str] = frozenset({"logits", "label"})

    scales = frozenset({"alpha"})

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
        edge_temperature: Positive | None = None,
        edge_radius: Count = 3,
        edge_norm: Literal["sum", "count"] = "sum",
        norm_over: Literal["image", "batch"] = "image",
        class_reduction: Literal["sum", "mean"] = "sum",
        void_edges: bool = True,
        pre_mask: bool = True,
        post_mask: bool = True,
        body_mask: bool = True,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes)
        self.body_weight = body_weight
        self.edge_weight = edge_weight
        self.alpha = alpha
        self.temperature = temperature
        self.edge_temperature = temperature if edge_temperature is None else edge_temperature
        self.edge_radius = edge_radius
        self.edge_norm = edge_norm
        self.norm_over = norm_over
        self.class_reduction = class_reduction
        self.void_edges = void_edges
        self.pre_mask = pre_mask
        self.post_mask = post_mask
        self.body_mask = body_mask
        self.as_published = as_published

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """Both terms on the finer of the two grids.

        Args:
            student: logits (N,K,h,w).
            teacher: logits (N,K,h',w').
            label: (N,H,W), 255 is void; edges are found at its size. It is needed.

        Returns:
            "bpkd/body" and "bpkd/edge".
        """
        assert label is not None  # Method.forward has refused None: the class needs it
        z_s, z_t = finer(student.logits, teacher.logits)
        grid = (z_s.shape[-2], z_s.shape[-1])
        edge = soft_edges(label, self.num_classes, self.edge_radius, grid, void_edges=self.void_edges, dtype=z_s.dtype)
        valid = self.counted(label, z_s)
        return {
            "bpkd/body": self.body_weight * self._body(z_s, z_t, edge, valid),
            "bpkd/edge": self.edge_weight * self._edge(z_s, z_t, edge, valid),
        }

    def _body(self, z_s: Tensor, z_t: Tensor, edge: Tensor, valid: Tensor | None) -> Tensor:
        if self.body_mask:
            inside = 1 - edge
            z_s, z_t = z_s * inside, z_t * inside
        return self.temperature**2 * spatial_divergence(z_t, z_s, valid, self.temperature).mean()

    def _edge(self, z_s: Tensor, z_t: Tensor, edge: Tensor, valid: Tensor | None) -> Tensor:
        if self.pre_mask:
            z_s, z_t = z_s * edge, z_t * edge
        pixels = divergence(z_t, z_s, dim=1, temperature=self.edge_temperature)
        share = edge if self.post_mask else torch.ones_like(edge)
        if valid is not None:
            share = share * valid
        count = (share > 0).sum((-2, -1)).to(share.dtype) if self.edge_norm == "count" else share.sum((-2, -1))
        present = (count > 0).sum(1, keepdim=True)
        if self.norm_over == "batch":
            count = ranks.mean(count.mean(0, keepdim=True))
        per_class = 1 / count.clamp_min(1)
        if self.class_reduction == "mean":
            per_class = per_class / present.clamp_min(1)
        # The divergence of a pixel is the same for every class; a class enters by its share of the pixel.
        weight = torch.einsum("nchw,nc->nhw", share, per_class.expand(share.shape[:2]))
        return self.alpha * (weight * pixels).sum() / len(pixels)


def soft_edges(
    label: Tensor,
    num_classes: int,
    radius: int,
    grid: tuple[int, int],
    *,
    void_edges: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Soft edge masks of label maps: dilation minus erosion of each class, averaged down to a grid.

    The (2 radius + 1)^2 window is clipped at the image border, which is no edge. Up to 31 classes share one int32 a
    pixel: a window's OR is the dilation of all of them, its AND the erosion. No map of a class is ever made at label
    size.

    Args:
        label: integers (N,H,W); those from K on are void.
        num_classes: K.
        radius: of the window, in label pixels.
        grid: (h,w) of the masks.
        void_edges: whether the border with void is an edge.
        dtype: of the masks.

    Returns:
        (N,K,h,w) in [0,1].
    """
    # A word a pixel, in which bit c says that the label is class c. A row of labels, two classes, radius 1:
    #
    #   label    0    0    0    1    1   255
    #   word    01   01   01   10   10    00
    #   OR      01   01   11   11   10    10   of the window: its classes; beyond the border no bit is set
    #   AND     01   01   00   00   00    00   of the window: the class it holds alone; beyond the border all bits are
    #   edge    00   00   11   11   10    10   OR and not AND
    words = -(-num_classes // _BITS)
    bits = -(-num_classes // words)
    label = label.int()[:, None]
    shift = label - bits * torch.arange(words, dtype=torch.int32, device=label.device)[:, None, None]
    word = ((shift >= 0) & (shift < bits)).int() << shift.clamp(0, bits - 1)
    word.masked_fill_(label >= num_classes, 0)
    eroded = word if void_edges else word.masked_fill(label >= num_classes, -1)
    edges = _window(word, radius, torch.bitwise_or, 0) & ~_window(eroded, radius, torch.bitwise_and, -1)
    return _bit_means(edges, grid, dtype)[:, :, :bits].flatten(1, 2)[:, :num_classes]


def _bit_means(words: Tensor, grid: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """(N,V,32,*grid): how often each bit of (N,V,H,W) is set in each adaptive block of pixels, between 0 and 1.

    A word is counted as four, two or one numbers at once, of as many bits as the pixels of a block need.
    """
    # Four counts in one sum, where blocks have fewer than 256 pixels. Two pixels of a block, their words shifted by
    # `bit` (here 0) and masked with `ones`, which leaves the lowest bit of each byte:
    #
    #   pixel 1   00000001 00000000 00000000 00000001   of classes 24 and 0
    #   pixel 2   00000001 00000000 00000001 00000000   of classes 24 and 8
    #   sum       00000010 00000000 00000001 00000001   class 24 twice, 16 never, 8 and 0 once
    rows, tall = _blocks(words.shape[-2], grid[0], words.device)
    columns, wide = _blocks(words.shape[-1], grid[1], words.device)
    deep, broad = rows.shape[1], columns.shape[1]
    width = next(width for width in (8, 16, 32) if deep * broad < 1 << width)
    if deep * grid[0] != words.shape[-2] or broad * grid[1] != words.shape[-1]:  # blocks overlap or differ in size
        padded = F.pad(words, (0, 1, 0, 1))
        words = padded.index_select(-2, rows.flatten()).index_select(-1, columns.flatten())
    fields = torch.arange(0, 32, width, dtype=torch.int32, device=words.device)
    ones = sum(1 << int(offset) for offset in range(0, 32, width))
    counts = words.new_empty(*words.shape[:2], len(fields), width, *grid)
    for bit in range(width):
        sums = ((words >> bit) & ones).unflatten(-2, (grid[0], deep)).sum(-2, dtype=torch.int32)
        sums = sums.unflatten(-1, (grid[1], broad)).sum(-1, dtype=torch.int32)
        counts[:, :, :, bit] = sums[:, :, None] >> fields[:, None, None]
    if width < 32:
        counts &= (1 << width) - 1
    return counts.flatten(2, 3).to(dtype) / (tall[:, None] * wide)


def _blocks(size: int, parts: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Adaptive blocks of an axis: their entries (parts,longest), `size` where a block is shorter, and their lengths."""
    index = torch.arange(parts, device=device)
    start, end = index * size // parts, -((index + 1) * -size // parts)
    length = end - start
    longest = -(-size // parts) + (1 if size % parts else 0)
    entries = start[:, None] + torch.arange(longest, device=device)
    return entries.masked_fill(entries >= end[:, None], size), length


def _window(bits: Tensor, radius: int, combine: Callable[[Tensor, Tensor], Tensor], outside: int) -> Tensor:
    """`combine` over every (2 radius + 1)^2 window; pixels beyond the border are `outside`."""
    return inner_window(F.pad(bits, (radius, radius, radius, radius), value=outside), radius, combine)
