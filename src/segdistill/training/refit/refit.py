"""The last touch of a training: what crops and class weights have shifted is fitted to how the network is tested."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.errors import DataError
from segdistill.core.outputs import resize
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.spread import chosen
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.network import SegmentationNetwork
from segdistill.models.probing import evaluating
from segdistill.runtime.display import counting
from segdistill.training.refit.batches import batches_as_tested
from segdistill.training.refit.biases import class_layer, fit_biases, miou_of
from segdistill.training.refit.statistics import mix_statistics, statistics_of

Scored = tuple[Tensor, Tensor]
"""Scores (P,K) and labels (P) of pixels."""

_SHARES = (0.0, 0.25, 0.5)
_MOST_SCORES = 1 << 24  # of all pixels that biases are fitted to: 64 MiB


@dataclass(frozen=True)
class Refit:
    """What was fitted, and what it was worth on the training images that it was fitted to.

    Attributes:
        share: Of batch norm's statistics that are now those of images as tested.
        biases: By how much each class's scores were moved; None where that does not help, or can't be done.
        before: mIoU of these images before, in percent.
        after: The same after it.
        images: How many they are.
    """

    share: float
    biases: list[float] | None
    before: float
    after: float
    images: int

    def summary(self) -> str:
        """In a line, for people."""
        parts = [f"{self.share:.0%} of batch norm's statistics"] if self.share else []
        parts += ["the classes' biases"] if self.biases else []
        if not parts:
            return f"nothing was fitted to {self.images} training images as tested: nothing raises their mIoU"
        return (
            f"{' and '.join(parts)} fitted to {self.images} training images as they are tested: their mIoU "
            f"{self.before:.2f} -> {self.after:.2f}; the run's validations were before it"
        )


@torch.no_grad()
def refit(
    network: SegmentationNetwork,
    data: SegmentationDataset,
    images: int,
    inference: InferenceConfig,
    *,
    ignored: Sequence[int] = (),
    skip_unreadable: bool = False,
    quiet: bool = True,
) -> Refit | None:
    """Fit batch norm's statistics and the classes' biases of a trained network to images as they are tested.

    Crops of changed scale show batch norm other statistics than whole images do, and show pooling over the image less
    of it. A share of the statistics, 0, 1/4 or 1/2, is replaced by those of unaugmented images: the one with the best
    mIoU there. Then each class's score gets a bias, which is added to that of the last layer, if biases fitted to every
    second image raise the mIoU of the others, and the other way round, on average. The network costs the same as
    before.

    Args:
        network: Is changed in place.
        data: Its training images.
        images: How many of them are looked at, spread evenly.
        inference: How images are tested.
        ignored: Classes that are no part of the mean.
        skip_unreadable: Whether images that can't be read are left out.
        quiet: Show no progress.

    Returns:
        What it was worth; None if no image has a label.

    Raises:
        DataError: An image can't be read, and is not left out.
    """
    samples = [*_readable(data, chosen(len(data), images), skip_unreadable)]
    samples = [sample for sample in samples if bool((sample.label != IGNORE_INDEX).any())]
    if not samples:
        return None
    device = network.mean.device
    tried: dict[float, tuple[float, list[Scored]]] = {}
    passes = 1 + len(_SHARES)
    with counting(f"fit to images as tested, {passes} times", passes * len(samples), quiet=quiet) as done:
        seen = batches_as_tested(_counted(samples, done), inference, device)
        after = statistics_of(network, (inputs for inputs, _ in seen))
        buffers = dict(network.named_buffers())
        before = {name: buffers[name].clone() for name in after}
        for share in _SHARES if after else _SHARES[:1]:
            mix_statistics(network, before, after, share)
            halves = [_scored(network, samples[start::2], inference, done) for start in (0, 1) if samples[start::2]]
            tried[share] = miou_of(*_joined(halves), ignored=ignored), halves
    share = max(tried, key=lambda each: tried[each][0])  # of equals the smallest
    mix_statistics(network, before, after, share)
    miou, halves = tried[share]
    biases = _biases(halves, ignored)
    layer = None if biases is None else class_layer(network, next(batches_as_tested(samples, inference, device))[0])
    if biases is None or layer is None:
        return Refit(share, None, tried[0.0][0], miou, len(samples))
    layer.bias += biases  # type: ignore[operator]
    after_all = miou_of(*_joined(halves), biases, ignored=ignored)
    return Refit(share, biases.tolist(), tried[0.0][0], after_all, len(samples))


def _readable(data: SegmentationDataset, indices: Sequence[int], skip: bool) -> Iterator[Sample]:
    """The samples; those that can't be read are left out, or end it."""
    for index in indices:
        try:
            yield data[index]
        except DataError:
            if not skip:
                raise


def _biases(halves: Sequence[Scored], ignored: Sequence[int]) -> Tensor | None:
    """Biases of all pixels; None where those of each half of the images don't help the other half, taken together."""
    if len(halves) < 2:
        return None
    gain = 0.0
    for mine, other in (halves, reversed(halves)):
        fitted = fit_biases(*mine, ignored=ignored)
        gain += miou_of(*other, fitted, ignored=ignored) - miou_of(*other, ignored=ignored)
    return fit_biases(*_joined(halves), ignored=ignored) if gain > 0 else None


def _counted(samples: Sequence[Sample], done: Callable[[float], object]) -> Iterator[Sample]:
    """The samples; each is counted once the next one is asked for."""
    for sample in samples:
        yield sample
        done(1)


def _joined(halves: Sequence[Scored]) -> Scored:
    return torch.cat([scores for scores, _ in halves]), torch.cat([labels for _, labels in halves])


@torch.no_grad()
def _scored(
    network: SegmentationNetwork,
    samples: Sequence[Sample],
    inference: InferenceConfig,
    done: Callable[[float], object],
) -> Scored:
    """Scores (P,K) and labels (P) of labelled pixels, evenly many from every batch and evenly spread over it."""
    windows = sum(len(inputs) for inputs, _ in batches_as_tested(samples[:1], inference))  # of an image
    parts = []
    with evaluating(network):
        for batch, label in batches_as_tested(_counted(samples, done), inference, network.mean.device):
            logits = network(batch).logits.float()
            scores = resize(logits, (label.shape[-2], label.shape[-1]), align_corners=inference.align_corners)
            most = _MOST_SCORES // scores.shape[1] * len(batch) // (windows * len(samples))
            places = (label.flatten() != IGNORE_INDEX).nonzero().flatten()
            places = places[:: max(1, -(-len(places) // max(1, most)))]
            parts.append((scores.movedim(1, -1).flatten(0, -2)[places], label.flatten()[places].long()))
    return _joined(parts)
