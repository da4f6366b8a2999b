"""Batch norm's statistics of images as they are tested, in place of those of augmented crops."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from segdistill.models.probing import evaluating

Statistics = dict[str, Tensor]
"""Running means and variances (C) by their names in the network's state."""


class _Moments:
    """Count, sums and sums of squares of a layer's channels.

    The layer normalises each batch by that batch's own mean and variance while it is watched, as in training: the
    layers behind it see what they will see once all statistics are replaced.
    """

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm) -> None:
        assert layer.running_mean is not None
        assert layer.running_var is not None
        self.layer, self.mean, self.variance = layer, layer.running_mean, layer.running_var
        self.before = self.mean.clone(), self.variance.clone()
        self.count = 0
        self.sums = torch.zeros(2, len(self.mean), dtype=torch.float64, device=self.mean.device)
        self.handle = layer.register_forward_pre_hook(self._see)

    def _see(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].double()
        axes = [axis for axis in range(values.ndim) if axis != 1]
        count = values.numel() // values.shape[1]
        if count == 1:  # of a map of one pixel in a batch of one there is no variance
            return
        variance, mean = torch.var_mean(values, axes, correction=0)
        self.mean.copy_(mean)
        self.variance.copy_(variance)
        self.sums += count * torch.stack([mean, variance + mean.square()])
        self.count += count

    def joint(self) -> tuple[Tensor, Tensor]:
        """Mean and variance over all batches; those from before where nothing was seen."""
        if not self.count:
            return self.before
        mean, square = self.sums / self.count
        unbiased = (square - mean.square()) * self.count / (self.count - 1)
        return mean.to(self.mean.dtype), unbiased.to(self.variance.dtype)

    def restore(self) -> None:
        """Leave the layer as it was."""
        self.handle.remove()
        self.mean.copy_(self.before[0])
        self.variance.copy_(self.before[1])


@torch.no_grad()
def statistics_of(network: nn.Module, batches: Iterable[Tensor]) -> Statistics:
    """Mean and variance of what every batch norm layer gets, over all batches; the network is left as it was.

    Source: the "precise" statistics of Wu and Johnson, "Rethinking 'Batch' in BatchNorm", arXiv 2105.07576, there of
    training batches.

    Args:
        network: Whose layers are watched.
        batches: Inputs (N,C,H,W).

    Returns:
        By name, running means and variances of the layers that have some.
    """
    watched = {
        name: _Moments(layer)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None
    }
    measured: Statistics = {}
    try:
        with evaluating(network):
            for batch in batches:
                network(batch)
        for name, moments in watched.items():
            mean, variance = moments.joint()
            measured[f"{name}.running_mean"], measured[f"{name}.running_var"] = mean.clone(), variance.clone()
    finally:
        for moments in watched.values():
            moments.restore()
    return measured


@torch.no_grad()
def mix_statistics(network: nn.Module, before: Statistics, after: Statistics, share: float) -> None:
    """Set every batch norm layer's statistics to (1 - share) of the one and `share` of the other.

    Args:
        network: That both are of.
        before: As they were after training.
        after: As they are on images as tested.
        share: From 0 to 1.
    """
    buffers = dict(network.named_buffers())
    for name, value in before.items():
        buffers[name].copy_(value.lerp(after[name], share))
