"""Cross-image relational distillation: how every pixel resembles the pixels of other images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.numbers import Count, NonNegative, Positive
from segdistill.core.outputs import SegOutput, finer
from segdistill.core.precision import Precision
from segdistill.methods.base import Method, on_grid
from segdistill.methods.parts import ranks
from segdistill.methods.parts.projection import ProjectionHead
from segdistill.methods.parts.queue import ClassMemory
from segdistill.methods.parts.relation import relation_divergence


class CIRKD(Method):
    """Every pixel's similarities to pixels and regions of its own and other images imitate the teacher's.

    Good for data sets whose classes look different from image to image: it compares across images.

    With unit vectors x = f / |f| of the embeddings' pixels, rows s(a, B) = softmax over b in B of (a . b / tau), and
    D(a, B) = KL( s_t(a, B) || s_s(a, B) ):
      minibatch = minibatch_weight * mean over pixels a of the batch and images j of D(a, pixels of j), without T^2
      pixel     = pixel_weight * T^2 * mean over a of D(a, keys of the pixel queues), scores divided by T as well
      region    = region_weight * T^2 * mean over a of D(a, keys of the region queues)
    Student f (N,C_s,h,w), teacher f (N,C_t,h,w). For the last two, a projection head brings the student to C_t. The
    queues hold the teacher's pixels and regions (means of an image's pixels of a class) of each class from earlier
    batches; the batch is filed first. All classes' keys share one softmax. Void pixels are no anchors, no keys, and
    enter neither pools nor the head's batch norm. Grids that differ meet on the finer one. Over several ranks the
    batch is the joint one: pairs, queues, counts and batch norm. Combine it with `kd`, as the paper does.

    Defaults: CIRKD's scripts (V1 used pixel_weight = region_weight = 0.01 for VOC, and pool = 2 for SegFormer).
    Source: Yang et al., arXiv 2204.06986, CVPR 2022.

    Args:
        minibatch_weight: of `minibatch`.
        pixel_weight: of `pixel`.
        region_weight: of `region`; where it and pixel_weight are 0 there are no queues and no head.
        tau: divisor of all similarities.
        temperature: T > 0, of `pixel` and `region`.
        pool: average over windows of this size before `minibatch`; null: 4 if h and w are at least 256, else 1.
        across_ranks: whether `minibatch` pairs images of different ranks too; its cost grows with the ranks.
        pixel_queue: rows of a class in the pixel queues.
        region_queue: rows of a class in the region queues.
        pixels_per_image: pixels of a class that an image files.
        pixel_keys: keys of the pixel term, of all classes together; each class gives pixel_keys // K + 1.
        region_keys: the same of the region term.
        queue_precision: of the stored rows: "fp32" (4 K P C bytes for P rows a class), "bf16" or "fp16" (half of that).
        as_published: pixels of any class are filed as a class's (a bug of the code; the paper's numbers were made with
            it), void enters `minibatch` and batch norm, and `minibatch` does not leave its rank.
    """

    needs: frozenset[str] = frozenset({"embedding", "label"})

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        minibatch_weight: NonNegative = 1.0,
        pixel_weight: NonNegative = 0.1,
        region_weight: NonNegative = 0.1,
        tau: Positive = 0.1,
        temperature: Positive = 1.0,
        pool: Count | None = None,
        across_ranks: bool = True,
        pixel_queue: Count = 20000,
        region_queue: Count = 2000,
        pixels_per_image: Count = 16,
        pixel_keys: Count = 4096,
        region_keys: Count = 1024,
        queue_precision: Precision = "fp32",
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes)
        self.minibatch_weight = minibatch_weight
        self.pixel_weight = pixel_weight
        self.region_weight = region_weight
        self.tau = tau
        self.temperature = temperature
        self.pool = pool
        self.across_ranks = across_ranks and not as_published
        self.keys = (pixel_keys // num_classes + 1, region_keys // num_classes + 1)
        self.as_published = as_published
        self.head: ProjectionHead | None = None
        self.memory: ClassMemory | None = None
        if pixel_weight or region_weight:  # a head without a loss would be a parameter without a gradient
            channels = teacher.embedding.shape[1]
            self.head = ProjectionHead(student.embedding.shape[1], channels)
            self.memory = ClassMemory(
                num_classes,
                channels,
                pixels=pixel_queue,
                regions=region_queue,
                per_image=pixels_per_image,
                precision=queue_precision,
            )

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """The three terms on the finer of the two grids; while training the queues first take the teacher's vectors.

        Args:
            student: embedding (N,C_s,h,w).
            teacher: embedding (N,C_t,h',w').
            label: (N,H,W), 255 is void; its classes choose the queues. It is needed.

        Returns:
            "cirkd/minibatch", "cirkd/pixel" and "cirkd/region"; a term of weight 0 is there, too.
        """
        assert label is not None  # Method.forward has refused None: the class needs it
        f_s, f_t = finer(student.embedding, teacher.embedding)
        small = on_grid(label, f_s)
        nonvoid = (small != IGNORE_INDEX)[:, None]
        counted = torch.ones_like(nonvoid) if self.as_published else nonvoid
        pixel, region = self._memory(f_s, f_t, small, counted)
        return {
            "cirkd/minibatch": self.minibatch_weight * self._minibatch(f_s, f_t, counted),
            "cirkd/pixel": self.pixel_weight * pixel,
            "cirkd/region": self.region_weight * region,
        }

    def _memory(self, f_s: Tensor, f_t: Tensor, label: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        """The pixel and the region term; label: (N,h,w). Files the batch first."""
        zero = f_s.new_zeros(())
        if self.head is None or self.memory is None:
            return zero, zero
        a_s, a_t = unit_pixels(self.head(f_s, counted)), unit_pixels(f_t)
        if self.training:
            self.memory.push(a_t, label.flatten(1), as_published=self.as_published)
        nonvoid = (label != IGNORE_INDEX).flatten().to(a_s.dtype)
        weight = nonvoid / ranks.mean_count(nonvoid.sum())

        rows_s, rows_t = a_s.flatten(0, 1), a_t.flatten(0, 1)
        # Keys are drawn for a term without weight, too: whether one counts changes nothing in the other's draws.
        pixels = self.memory.draw(self.memory.pixels, self.keys[0], a_t)
        regions = self.memory.draw(self.memory.regions, self.keys[1], a_t)
        pixel = self._to_keys(rows_s, rows_t, pixels, weight) if self.pixel_weight else zero
        return pixel, self._to_keys(rows_s, rows_t, regions, weight) if self.region_weight else zero

    def _to_keys(self, rows_s: Tensor, rows_t: Tensor, keys: Tensor, row_weight: Tensor) -> Tensor:
        """T^2 times the sum over rows (A,C), by their weights (A,), of D(row, keys of a queue (m,C))."""
        keys = keys[None]
        return self.temperature**2 * relation_divergence(
            rows_s,
            keys,
            rows_t,
            keys,
            tau=self.tau * self.temperature,
            row_weight=row_weight,
            group_weight=row_weight.new_ones(1),
        )

    def _minibatch(self, f_s: Tensor, f_t: Tensor, valid: Tensor) -> Tensor:
        if not self.minibatch_weight:
            return f_s.new_zeros(())
        size = self.pool if self.pool is not None else (4 if min(f_s.shape[-2:]) >= 256 else 1)
        f_s, _ = pooled(f_s, valid, size)
        f_t, valid = pooled(f_t, valid, size)
        rows_s, rows_t = unit_pixels(f_s), unit_pixels(f_t)
        nonvoid = valid.flatten(1)
        keys = [ranks.gather(x) if self.across_ranks else x for x in (rows_s, rows_t, nonvoid)]
        counted = nonvoid.flatten().to(rows_s.dtype)
        group = keys[2].any(1).to(rows_s.dtype)
        return relation_divergence(
            rows_s.flatten(0, 1),
            keys[0],
            rows_t.flatten(0, 1),
            keys[1],
            tau=self.tau,
            row_weight=counted / (ranks.mean_count(counted.sum()) if self.across_ranks else counted.sum().clamp_min(1)),
            group_weight=group / group.sum().clamp_min(1),
            valid=None if self.as_published else keys[2],
        )


def unit_pixels(x: Tensor) -> Tensor:
    """The pixels of maps as unit vectors.

    Args:
        x: (N,C,h,w).

    Returns:
        (N,hw,C), contiguous.
    """
    # Laid out by pixel once, as every product and the queues take them.
    return F.normalize(x.flatten(2), dim=1).transpose(1, 2).contiguous()


def pooled(x: Tensor, valid: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Maps averaged over windows, which are cut off at the border; positions that do not count are left out.

    Args:
        x: (N,C,h,w).
        valid: bool (N,1,h,w), the positions that count.
        size: side of a window; 1 leaves maps as they are.

    Returns:
        Means (N,C,ceil(h/size),ceil(w/size)), 0 where no position counts; and bool (N,1,..), where one does.
    """
    if size == 1:
        return x, valid
    share = F.avg_pool2d(valid.to(x.dtype), size, ceil_mode=True)
    mean = F.avg_pool2d(torch.where(valid, x, 0.0), size, ceil_mode=True)
    return mean / torch.where(share > 0, share, 1.0), share > 0
