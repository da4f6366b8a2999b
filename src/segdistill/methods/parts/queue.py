"""Memories of the teacher's vectors from earlier batches: queues by class, equal on all ranks.

Nothing here waits for the device, and no queue is ever sent between ranks: they exchange the new rows, and write them
in the same order with the same draws.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.precision import DTYPES, Precision
from segdistill.core.seeds import mix
from segdistill.methods.parts import ranks

_PRIORITY_BITS = 24  # of a uniform draw in float32


class Chance(nn.Module):
    """Draws that are a function of a seed and of how often it was asked; both are saved with the training state.

    The seed comes from torch's generator, which a run seeds before it makes its methods; so all ranks draw the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seed = int(torch.randint(2**62, (), device="cpu"))
        self.calls = 0

    def _generator(self) -> torch.Generator:
        self.calls += 1  # on the CPU, so that the device doesn't change the draws
        return torch.Generator().manual_seed(mix(self.seed, self.calls))

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0,1)."""
        return torch.rand(*shape, generator=self._generator())

    def normal(self, *shape: int) -> Tensor:
        """Numbers of a standard normal distribution."""
        return torch.randn(*shape, generator=self._generator())

    def choice(self, size: int, count: int) -> Tensor:
        """Different numbers below `size`, in random order.

        Args:
            size: numbers to choose from.
            count: how many.

        Returns:
            int64 (min(count, size),), on the CPU.
        """
        return torch.randperm(size, generator=self._generator())[:count]

    def get_extra_state(self) -> dict[str, int]:
        return {"seed": self.seed, "calls": self.calls}

    def set_extra_state(self, state: Any) -> None:
        """Go on drawing where a run that is continued had stopped.

        Args:
            state: What `get_extra_state` gave: seed and calls.
        """
        self.seed, self.calls = state["seed"], state["calls"]


class Queue(nn.Module):
    """K queues of P unit vectors (K,P,C), each with its write position; random directions until overwritten.

    Args:
        queues: K.
        size: P.
        channels: C.
        precision: of the stored vectors.
    """

    rows: Tensor
    pointer: Tensor
    equal_on_all_ranks = True  # so distributed training need not send them

    def __init__(self, queues: int, size: int, channels: int, precision: Precision = "fp32") -> None:
        super().__init__()
        rows = torch.randn(queues, size, channels, dtype=DTYPES[precision])
        self.register_buffer("rows", rows.div_(rows.norm(dim=2, keepdim=True)))
        self.register_buffer("pointer", torch.zeros(queues, dtype=torch.int64))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        saved = state_dict.get(prefix + "rows")
        if saved is not None and saved.shape[:2] == self.rows.shape[:2]:  # vectors may have been made for a batch
            self.rows = self.rows.new_empty(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @torch.no_grad()
    def push(self, rows: Tensor, count: Tensor) -> None:
        """Write rows to every queue.

        What would reach the end replaces the queue's last rows, and writing goes on at the front (CIRKD's rule).

        Args:
            rows: (K,V,C), V <= P.
            count: int64 (K,), how many of the V rows of each queue are written, the first ones.
        """
        size = self.rows.shape[1]
        ends = self.pointer + count >= size
        first = torch.where(ends, size - count, self.pointer)[:, None]
        slot = torch.arange(rows.shape[1], device=rows.device)
        kept = slot < count[:, None]
        flat = self.rows.view(-1, self.rows.shape[2])
        first = first + size * torch.arange(len(first), device=rows.device)[:, None]
        new, before = rows.to(self.rows), flat[first[:, 0]]
        # Instead of a selection, whose size the device would have to tell: rows that are not kept go where the first
        # one goes, which is written last; if nothing is kept it is what was there before.
        flat.index_copy_(0, (first + torch.where(kept, slot, 0)).flatten(), new.flatten(0, 1))
        flat.index_copy_(0, first[:, 0], torch.where(count[:, None] > 0, new[:, 0], before))
        self.pointer.copy_(torch.where(ends, 0, self.pointer + count))

    def sample(self, index: Tensor, like: Tensor) -> Tensor:
        """Rows of every queue.

        Args:
            index: int64 (m,), which rows.
            like: a tensor of the precision to give them in.

        Returns:
            (K m,C).
        """
        return self.rows[:, index.to(self.rows.device)].flatten(0, 1).to(like.dtype)


class ClassMemory(nn.Module):
    """For each class a queue of the teacher's pixels and one of its regions: an image's mean over the class.

    Args:
        classes: K.
        channels: of the teacher's embedding.
        pixels: rows of a class's queue of pixels.
        regions: rows of a class's queue of regions.
        per_image: how many pixels of a class an image gives to the queue.
        precision: of the stored rows.
    """

    def __init__(
        self, classes: int, channels: int, *, pixels: int, regions: int, per_image: int, precision: Precision
    ) -> None:
        """per_image: how many pixels of a class an image gives to the queue."""
        super().__init__()
        self.classes = classes
        self.per_image = min(per_image, pixels)
        self.pixels = Queue(classes, pixels, channels, precision)
        self.regions = Queue(classes, regions, channels, precision)
        self.chance = Chance()

    @torch.no_grad()
    def push(self, features: Tensor, label: Tensor, *, as_published: bool = False) -> None:
        """File the pixels of a batch by their classes, drawn at random, and their means.

        Args:
            features: unit vectors (N,n,C) of the n pixels of each image.
            label: integers (N,n); those from K on are void.
            as_published: pixels are taken as `published` says.
        """
        rank, number = ranks.world()
        images, pixels = label.shape
        priority = self.chance.uniform(number * images, pixels).to(features.device)  # for the joint batch
        mine = priority[rank * images : (rank + 1) * images]
        first = (self.classes + 1) * torch.arange(images, device=label.device)[:, None]
        group = (first + torch.where(label < self.classes, label, self.classes)).flatten()
        order, start = by_group(group, mine.flatten(), images * (self.classes + 1))
        start = start.view(images, -1)
        count = start.diff(dim=1)
        pixel = chosen(order, start, self.per_image)
        if as_published:
            pixel = published(group, start, pixel) + pixels * torch.arange(images, device=label.device)[:, None, None]
        flat = features.flatten(0, 1)
        rows = flat.index_select(0, pixel.flatten()).view(*pixel.shape, -1)
        mean = F.normalize(sums(flat, order, start) / count.clamp_min(1)[..., None], dim=2)
        for new, centre, present in zip(ranks.gather(rows), ranks.gather(mean), ranks.gather(count), strict=True):
            self.pixels.push(new, present.clamp_max(self.per_image))
            self.regions.push(centre[:, None], present.clamp_max(1))

    def draw(self, queue: Queue, count: int, like: Tensor) -> Tensor:
        """Different rows of every class, at random.

        Args:
            queue: that of pixels or that of regions.
            count: rows a class.
            like: a tensor of the precision to give them in.

        Returns:
            (K count,C).
        """
        return queue.sample(self.chance.choice(queue.rows.shape[1], count), like)


def by_group(group: Tensor, priority: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """A batch's M pixels by group, then by priority.

    Args:
        group: int64 (M,); a group is an image's pixels of one class or, as its last one, void.
        priority: (M,) in [0,1).
        groups: their number G.

    Returns:
        Indices (M,) of the pixels in that order, and where each group begins among them (G,).
    """
    ordered, order = ((group << _PRIORITY_BITS) + (priority * (1 << _PRIORITY_BITS)).long()).sort(stable=True)
    return order, torch.searchsorted(ordered, torch.arange(groups, device=group.device) << _PRIORITY_BITS)


def chosen(order: Tensor, start: Tensor, limit: int) -> Tensor:
    """The first pixels of each class of an image.

    Args:
        order: (M,), of `by_group`.
        start: (N,K+1), of `by_group`, void being last.
        limit: pixels a class.

    Returns:
        (N,K,limit); those beyond the class's number are of other groups.
    """
    position = start[:, :-1, None] + torch.arange(limit, device=order.device)
    return order[position.clamp_max(len(order) - 1)]


def sums(rows: Tensor, order: Tensor, start: Tensor) -> Tensor:
    """Sums of the rows of each image's classes: one pass, in a fixed order on all devices, which index_add_ does not
    promise.

    Args:
        rows: (M,C), one a pixel.
        order: (M,), of `by_group`.
        start: (N,K+1), of `by_group`, void being last.

    Returns:
        (N,K,C).
    """
    return F.embedding_bag(order, rows, start.flatten(), mode="sum").view(*start.shape, -1)[:, :-1]


def published(group: Tensor, start: Tensor, pixel: Tensor) -> Tensor:
    """In place of a class's j-th pixel the image's j-th, as in CIRKD's code: its queues hold pixels of any class.

    Args:
        group: (M,), as in `by_group`.
        start: (N,K+1), of `by_group`.
        pixel: (N,K,limit), of `chosen`.

    Returns:
        (N,K,limit), counted from each image's first pixel.
    """
    raster = group.argsort(stable=True)
    within = torch.arange(len(group), device=group.device) - start.flatten()[group[raster]]
    return torch.empty_like(raster).scatter_(0, raster, within)[pixel]
