"""Memories of the teacher's vectors from earlier batches: queues by class, equal on all ranks.

Nothing here waits for the device, and no queue is ever sent between ranks: they exchange the new rows, and write them
in the same order with the same draws.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.methods import ranks
from segdistill.seeds import mix

Precision = Literal["fp32", "bf16", "fp16"]
_PRIORITY_BITS = 24  # of a uniform draw in float32
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
        """`count` different numbers below `size`, or all of them if there are not so many."""
        return torch.randperm(size, generator=self._generator())[:count]

    def get_extra_state(self) -> dict[str, int]:
        return {"seed": self.seed, "calls": self.calls}

    def set_extra_state(self, state: Any) -> None:
        self.seed, self.calls = state["seed"], state["calls"]


class Queue(nn.Module):
    """K queues of P unit vectors (K,P,C), each with its write position; random directions until overwritten."""

    rows: Tensor
    pointer: Tensor
    equal_on_all_ranks = True  # so distributed training need not send them

    def __init__(self, queues: int, size: int, channels: int, precision: Precision = "fp32") -> None:
        super().__init__()
        rows = torch.randn(queues, size, channels, dtype=_DTYPES[precision])
        self.register_buffer("rows", rows.div_(rows.norm(dim=2, keepdim=True)))
        self.register_buffer("pointer", torch.zeros(queues, dtype=torch.int64))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        saved = state_dict.get(prefix + "rows")
        if saved is not None and saved.shape[:2] == self.rows.shape[:2]:  # vectors may have been made for a batch
            self.rows = self.rows.new_empty(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @torch.no_grad()
    def push(self, rows: Tensor, count: Tensor) -> None:
        """Write the first count[k] of the rows (K,V,C), V <= P, to queue k.

        What would reach the end replaces the queue's last rows, and writing goes on at the front (CIRKD's rule).
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
        """The rows `index` (m,) of every queue: (K m, C) in the precision of `like`."""
        return self.rows[:, index.to(self.rows.device)].flatten(0, 1).to(like.dtype)


class ClassMemory(nn.Module):
    """For each class a queue of the teacher's pixels and one of its regions: an image's mean over the class."""

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
        """File the unit pixels (N,n,C) of a batch by their labels (N,n); as_published: as `published` says."""
        rank, number = ranks.world()
        images, pixels = label.shape
        priority = self.chance.uniform(number * images, pixels).to(features.device)  # for the joint batch
        mine = priority[rank * images : (rank + 1) * images]
        slot = torch.where(label < self.classes, label, self.classes)
        order, start = by_class(slot, mine, self.classes)
        count = start.diff(dim=1)
        pixel = chosen(order, start, self.per_image)
        if as_published:
            pixel = published(slot, start, pixel)
        flat = features.flatten(0, 1)
        before = pixels * torch.arange(images, device=label.device)[:, None]
        rows = flat.index_select(0, (pixel + before[..., None]).flatten()).view(*pixel.shape, -1)
        mean = F.normalize(sums(flat, order + before, start + before) / count.clamp_min(1)[..., None], dim=2)
        for new, centre, found in zip(ranks.gather(rows), ranks.gather(mean), ranks.gather(count), strict=True):
            self.pixels.push(new, found.clamp_max(self.per_image))
            self.regions.push(centre[:, None], found.clamp_max(1))


def by_class(slot: Tensor, priority: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Positions (N,n) of the pixels by class, then by priority, and where each class begins and the last ends (N,K+1).

    slot: (N,n) class or, for void, K. priority: (N,n) in [0,1).
    """
    key = (slot << _PRIORITY_BITS) + (priority * (1 << _PRIORITY_BITS)).long()
    ordered, order = key.sort(dim=1, stable=True)
    first = torch.arange(classes + 1, device=slot.device) << _PRIORITY_BITS
    return order, torch.searchsorted(ordered, first.expand(len(slot), -1).contiguous())


def chosen(order: Tensor, start: Tensor, limit: int) -> Tensor:
    """Positions (N,K,limit) of each class's first pixels; those beyond the class's number are of other classes."""
    place = start[:, :-1, None] + torch.arange(limit, device=order.device)
    return order.gather(1, place.clamp_max(order.shape[1] - 1).flatten(1)).view_as(place)


def sums(rows: Tensor, order: Tensor, start: Tensor) -> Tensor:
    """Sums (N,K,C) of the rows (M,C) of each image's classes: those at order[n, start[n,k] : start[n,k+1]] of all M.

    Here start counts from the first image's first pixel, so the void of an image lies between its last class and the
    next image's first. One pass over the rows, in a fixed order on all devices, which index_add_ does not promise.
    """
    bags = F.embedding_bag(order.flatten(), rows, start.flatten(), mode="sum")
    return bags.view(*start.shape, -1)[:, :-1]


def published(slot: Tensor, start: Tensor, pixel: Tensor) -> Tensor:
    """In place of a class's j-th pixel the image's j-th, as in CIRKD's code: its queues hold pixels of any class."""
    raster = slot.argsort(dim=1, stable=True)
    within = torch.arange(slot.shape[1], device=slot.device) - start.gather(1, slot.gather(1, raster))
    return torch.empty_like(raster).scatter_(1, raster, within).gather(1, pixel.flatten(1)).view_as(pixel)
