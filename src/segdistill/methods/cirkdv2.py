"""CIRKD version 2: channel relations, the feature itself, and a student feature enriched with context."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.errors import RecipeError
from segdistill.core.numbers import Count, NonNegative
from segdistill.core.outputs import SegOutput, finer
from segdistill.core.precision import Precision
from segdistill.methods.base import labelled
from segdistill.methods.cirkd import CIRKD, pooled
from segdistill.methods.parts import ranks
from segdistill.methods.parts.projection import ConvNorm, ProjectionHead
from segdistill.methods.parts.queue import Chance, Queue
from segdistill.methods.parts.relation import relation_divergence
from segdistill.methods.parts.squared import squared_distance


class CIRKDv2(CIRKD):
    """`CIRKD` (its terms and options) on a context-enriched student feature, and relations between channels.

    Good for what `cirkd` is for, with more that is compared; it costs more.

    The student's embedding f (N,C_s,h,w) first passes a `ContextBlock`, which only the losses see. Further terms:
      fitnet  = fitnet_weight * mean over pixels and channels of (conv1x1(f) - f_t)^2, f_t (N,C_t,h,w) the teacher's
    and, with X (N,C_t,d) the maps averaged over 4x4 windows (the student's through a projection head of its own), each
    channel a unit vector over the d positions, and D(a, B) the divergence of `CIRKD` between channels:
      channel_minibatch = channel_minibatch_weight * mean over channels a and images j of D(a, channels of j)
      channel_memory    = channel_memory_weight * T^2 * mean over a of D(a, keys of a queue of teacher channels)
      channel           = channel_weight * mean over N C_t d of (X_s - X_t)^2
    Void positions take no part. Over several ranks the batch is the joint one. Combine it with `kd`, as the code does.

    `as_published` is that of `CIRKD`, and void takes part everywhere. The published crash where h or w is not a
    multiple of 4 is not reproduced. Defaults: the repository's scripts (fitnet_weight is 1 or 10 by pair). Source: code
    of CIRKDv2, winycg/CIRKD.

    Args:
        fitnet_weight: of the regression of the embedding.
        channel_minibatch_weight: of relations between channels of the batch.
        channel_memory_weight: of relations to channels of the queue.
        channel_weight: of the channels' squared distance.
        context: whether there is a context block; the code has none where fitnet_weight is 0.
        channel_queue: rows of the queue. It is made for the grid of the first batch, and all training crops must have
            its size.
        channel_keys: rows that are drawn at a step.
        channels_per_step: rows that are filed at a step.
        queue_precision: of the rows of all queues, see `CIRKD`.
        **options: those of `CIRKD`.
    """

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        fitnet_weight: NonNegative = 1.0,
        channel_minibatch_weight: NonNegative = 1.0,
        channel_memory_weight: NonNegative = 0.1,
        channel_weight: NonNegative = 100.0,
        context: bool = True,
        channel_queue: Count = 10000,
        channel_keys: Count = 2048,
        channels_per_step: Count = 256,
        queue_precision: Precision = "fp32",
        **options: Any,
    ) -> None:
        super().__init__(student, teacher, num_classes, queue_precision=queue_precision, **options)
        self.weights = {
            "fitnet": fitnet_weight,
            "channel_minibatch": channel_minibatch_weight,
            "channel_memory": channel_memory_weight,
            "channel": channel_weight,
        }
        channels = student.embedding.shape[1], teacher.embedding.shape[1]
        # As with CIRKD's head: no part without a loss, which would be a parameter without a gradient.
        self.context = ContextBlock(channels[0]) if context else None
        by_channel = channel_minibatch_weight or channel_memory_weight or channel_weight
        self.channel_head = ProjectionHead(*channels) if by_channel else None
        self.channels = ChannelMemory(channel_queue, channel_keys, channels_per_step, queue_precision)
        self.connector = nn.Conv2d(*channels, 1, bias=False) if fitnet_weight else None

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """The terms of `CIRKD` and those of the channels, on the finer of the two grids.

        Args:
            student: embedding (N,C_s,h,w).
            teacher: embedding (N,C_t,h',w').
            label: (N,H,W), 255 is void. It is needed.

        Returns:
            "cirkdv2/<term>" for the terms of `CIRKD`, for fitnet and for the three of the channels.
        """
        assert label is not None  # Method.forward has refused None: the class needs it
        f_s, f_t = finer(student.embedding, teacher.embedding)
        nonvoid = labelled(label, f_s)
        counted = torch.ones_like(nonvoid) if self.as_published else nonvoid
        if self.context is not None:
            f_s = self.context(f_s, counted)
        base = super().terms(replace(student, embedding=f_s), replace(teacher, embedding=f_t), label)
        losses = {"fitnet": self._fitnet(f_s, f_t, counted), **self._channel_terms(f_s, f_t, counted)}
        return {
            **{name.replace("cirkd/", "cirkdv2/"): value for name, value in base.items()},
            **{f"cirkdv2/{name}": self.weights[name] * value for name, value in losses.items()},
        }

    def _fitnet(self, f_s: Tensor, f_t: Tensor, counted: Tensor) -> Tensor:
        if self.connector is None:
            return f_s.new_zeros(())
        return squared_distance(self.connector(f_s), f_t, counted) / (ranks.mean_count(counted.sum()) * f_t.shape[1])

    def _channel_terms(self, f_s: Tensor, f_t: Tensor, counted: Tensor) -> dict[str, Tensor]:
        if self.channel_head is None:
            return dict.fromkeys(("channel_minibatch", "channel_memory", "channel"), f_s.new_zeros(()))
        f_s, valid = pooled(f_s, counted, 4)
        f_t, _ = pooled(f_t, counted, 4)
        x_s = F.normalize((self.channel_head(f_s, valid) * valid).flatten(2), dim=2)
        x_t = F.normalize((f_t * valid).flatten(2), dim=2)
        labelled_images = valid.flatten(1).any(1).to(x_s.dtype)  # (N,): images that are not all void
        share = labelled_images / ranks.mean_count(labelled_images.sum())
        # Channels of an image that is all void are filed by nobody, so they are offered last.
        keys = self.channels(x_t, labelled_images, file=self.training)
        row_weight = (share / x_s.shape[1]).repeat_interleave(x_s.shape[1])
        rows_s, rows_t = x_s.flatten(0, 1), x_t.flatten(0, 1)
        others = [ranks.gather(x) if self.across_ranks else x for x in (x_s, x_t, labelled_images)]
        zero = f_s.new_zeros(())
        return {
            "channel_minibatch": relation_divergence(
                rows_s,
                others[0],
                rows_t,
                others[1],
                tau=self.tau,
                row_weight=row_weight,
                group_weight=others[2] / others[2].sum().clamp_min(1),
            )
            if self.weights["channel_minibatch"]
            else zero,
            "channel_memory": self._to_keys(rows_s, rows_t, keys, row_weight)
            if self.weights["channel_memory"]
            else zero,
            "channel": (((x_s - x_t) ** 2).mean((1, 2)) * share).sum(),
        }


class ContextBlock(nn.Module):
    """Maps joined with what each position sees of all others by attention, keys of half the channels.

    Args:
        channels: C of the maps (N,C,h,w).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.node_k = nn.Conv2d(channels, inner, 1, bias=False)
        self.node_v = nn.Conv2d(channels, inner, 1, bias=False)
        self.node_q = nn.Conv2d(channels, inner, 1, bias=False)
        self.conv1 = ConvNorm(inner, channels)
        self.out_conv = ConvNorm(2 * channels, channels)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """The joined maps.

        Args:
            x: (N,C,h,w).
            valid: bool (N,1,h,w); other positions are not seen, and are 0 in the result.

        Returns:
            (N,C,h,w).
        """
        q, k, v = (node(x).flatten(2).transpose(1, 2) for node in (self.node_q, self.node_k, self.node_v))
        seen = valid.flatten(2)
        seen = (seen | ~seen.any(2, keepdim=True)).expand(-1, seen.shape[2], -1)
        context = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], attn_mask=seen[:, None])[:, 0]
        context_map = self.conv1(context.transpose(1, 2).unflatten(2, x.shape[2:]), valid)
        joined: Tensor = self.out_conv(torch.cat([x, context_map], 1), valid)
        return joined


class ChannelMemory(nn.Module):
    """A queue of the teacher's channels; its vectors have as many positions as the first batch's maps.

    Args:
        size: rows of the queue.
        keys: rows that a step draws.
        per_step: rows that a step files, `size` at most.
        precision: of the stored rows.
    """

    def __init__(self, size: int, keys: int, per_step: int, precision: Precision) -> None:
        super().__init__()
        self.keys = keys
        self.per_step = min(per_step, size)
        self.queue = Queue(1, size, 1, precision)
        self.chance = Chance()

    def forward(self, x: Tensor, labelled_images: Tensor, *, file: bool) -> Tensor:
        """Keys for a batch, drawn after some of its channels are filed.

        Args:
            x: the teacher's channels (N,C,d), unit vectors.
            labelled_images: (N,), 1 for images that are not all void; the channels of others are not filed.
            file: whether channels are filed, which only training does.

        Returns:
            (m,d).

        Raises:
            RecipeError: the queue holds vectors of another number of positions.
        """
        self._prepare(x)
        if file:
            self._push(x.detach(), labelled_images)
        return self.queue.sample(self.chance.choice(self.queue.rows.shape[1], self.keys), x)

    def _prepare(self, x: Tensor) -> None:
        length, queue_length = x.shape[2], self.queue.rows.shape[2]
        if queue_length == 1 and length != 1:
            noise = self.chance.normal(*self.queue.rows.shape[:2], length).to(self.queue.rows)
            self.queue.rows = noise.div_(noise.norm(dim=2, keepdim=True))
        elif queue_length != length:
            raise RecipeError(
                f"The channel queue of 'cirkdv2' holds maps of {queue_length} positions, but a batch's maps have "
                f"{length}. Train on crops of one size, or set channel_memory_weight=0, channel_minibatch_weight=0 and "
                "channel_weight=0."
            )

    @torch.no_grad()
    def _push(self, x: Tensor, labelled_images: Tensor) -> None:
        rank, number = ranks.world()
        n, channels = x.shape[:2]
        order = self.chance.choice(number * n * channels, number * n * channels).to(x.device)
        # Channels of all-void images go last and are not counted.
        everyone = ranks.gather(labelled_images).repeat_interleave(channels) > 0
        order = order[(~everyone[order]).long().argsort(stable=True)][: self.per_step]
        mine = (order // channels >= rank * n) & (order // channels < (rank + 1) * n)
        local = x.flatten(0, 1)[(order - rank * n * channels).clamp(0, n * channels - 1)]
        rows = ranks.total(torch.where(mine[:, None], local, 0.0))
        self.queue.push(rows[None], everyone.sum()[None].clamp_max(len(order)))
