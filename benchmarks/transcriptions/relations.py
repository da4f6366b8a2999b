"""CIRKD's relations across images, written out. Draws come from the method's own chance, so that both draw the same."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segdistill.core.outputs import SegOutput

TAU = 0.1


def minibatch(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    """Pair after pair of images, with all similarities of a pair at once."""
    s, t = (F.normalize(x.embedding, dim=1).flatten(2) for x in (student, teacher))
    n = len(s)
    total = torch.zeros(())
    for i in range(n):
        for j in range(n):
            total = total + relation(s[i].T @ s[j], t[i].T @ t[j])
    return total / n**2


def relation(s: Tensor, t: Tensor) -> Tensor:
    return F.kl_div((s / TAU).log_softmax(1), (t / TAU).softmax(1), reduction="batchmean")


def memory_update(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    """As published, image after image and class after class, but that a class's own pixels are filed; no loss.

    The vectors' lengths don't matter to it: the maps are filed as they are.
    """
    file(method.memory, teacher.embedding, on_grid(label, teacher.embedding), as_published=False)
    return torch.zeros(())


def memory_terms(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    """Head, update and both terms."""
    memory = method.memory
    s, t = F.normalize(head(method.head, student.embedding), dim=1), F.normalize(teacher.embedding, dim=1)
    small = on_grid(label, t)
    file(memory, t, small, as_published=True)
    labelled = small != 255
    s, t = (x.permute(0, 2, 3, 1)[labelled] for x in (s, t))
    total = torch.zeros(())
    for queue, count in ((memory.pixels.rows, 4096), (memory.regions.rows, 1024)):
        index = memory.chance.choice(queue.shape[1], count // len(queue) + 1)
        keys = queue[:, index].flatten(0, 1)
        total = total + 0.1 * relation(s @ keys.T, t @ keys.T)
    return total


def channels(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    """Second generation: channels as vectors over places of 4x4 positions."""
    memory = method.channels
    s, t = (F.avg_pool2d(x.embedding, 4, 4, ceil_mode=True) for x in (student, teacher))
    s, t = (F.normalize(x.flatten(2), dim=2) for x in (head(method.channel_head, s), t))
    n = len(s)
    total = 100 * F.mse_loss(s, t)
    for i in range(n):
        for j in range(n):
            total = total + relation(s[i] @ s[j].T, t[i] @ t[j].T) / n**2
    s, t = s.flatten(0, 1), t.flatten(0, 1)
    queue, pointer = memory.queue.rows[0], memory.queue.pointer
    enqueue(queue, pointer, 0, t[memory.chance.choice(len(t), len(t))[: memory.per_step]])
    keys = queue[memory.chance.choice(len(queue), memory.keys)]
    return total + 0.1 * relation(s @ keys.T, t @ keys.T)


def head(layers: Any, x: Tensor) -> Tensor:
    first, norm, _, last = layers
    x = F.conv2d(x, first.weight)
    x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=True)
    return F.conv2d(F.relu(x), last.weight)


def file(memory: Any, maps: Tensor, label: Tensor, *, as_published: bool) -> None:
    draw = memory.chance.uniform(len(maps), label[0].numel())  # in place of a permutation a class
    for i in range(len(maps)):
        pixels, classes = maps[i].flatten(1), label[i].flatten()
        for c in classes.unique().tolist():
            if c == 255:
                continue
            where = (classes == c).nonzero()[:, 0]
            region = F.normalize(pixels[:, where].mean(1), dim=0)
            enqueue(memory.regions.rows[c], memory.regions.pointer, c, region[None])
            chosen = draw[i, where].argsort()[: memory.per_image]
            rows = pixels[:, chosen if as_published else where[chosen]].T
            enqueue(memory.pixels.rows[c], memory.pixels.pointer, c, rows)


def enqueue(queue: Tensor, pointer: Tensor, c: int, rows: Tensor) -> None:
    start, count = int(pointer[c]), len(rows)
    if start + count >= len(queue):
        queue[-count:] = rows.detach()
        pointer[c] = 0
    else:
        queue[start : start + count] = rows.detach()
        pointer[c] += count


def on_grid(label: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(label[:, None].float(), like.shape[-2:], mode="nearest")[:, 0].long()
