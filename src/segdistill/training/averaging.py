"""The moving average of the student's weights, which a run validates and hands over in place of the last weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from segdistill.models.network import SegmentationNetwork


class MovingAverage(AveragedModel):
    """A copy of a network whose weights and statistics follow those of the trained one.

    After step t (from 0): a <- d_t a + (1 - d_t) w, d_t = min(decay, (1 + t) / (10 + t)), so that the start, whose
    weights are still far from the last ones, is forgotten quickly. The first step's weights are taken as they are.
    Tensors of whole numbers are copied.
    Source: Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", 1992; d_t as in TensorFlow's
    ExponentialMovingAverage.

    Args:
        network: The network that is trained.
        decay: Share of the average that stays at a step, in (0, 1).
    """

    module: SegmentationNetwork

    def __init__(self, network: SegmentationNetwork, decay: float) -> None:
        def follow(averages: Sequence[Tensor], weights: Sequence[Tensor], count: Tensor | int) -> None:
            share = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
            for average, weight in zip(averages, weights, strict=True):
                if average.is_floating_point():
                    average.lerp_(weight, share)
                else:
                    average.copy_(weight)

        super().__init__(network, multi_avg_fn=follow, use_buffers=True)
        self.requires_grad_(False)

    @torch.no_grad()
    def copy_to(self, network: SegmentationNetwork) -> None:
        """Give a network the averaged weights.

        Args:
            network: Built like the one that trains; its weights are overwritten.
        """
        network.load_state_dict(self.module.state_dict())
