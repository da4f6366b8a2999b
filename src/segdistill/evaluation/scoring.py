"""Scores of a network on a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.loading import Batch, Guarded, unguarded
from segdistill.evaluation.inference import predict_classes
from segdistill.evaluation.metrics import ConfusionMatrix


def count(
    network: nn.Module,
    data: SegmentationDataset,
    *,
    indices: Sequence[int] | None = None,
    batch_size: int = 4,
    workers: int = 0,
) -> ConfusionMatrix:
    """The confusion matrix of `network` over `data` (or the `indices` of it), whole images at their own size."""
    device = next(network.parameters()).device
    matrix = ConfusionMatrix(len(data.classes), device)
    for batch in _batches(data, indices, batch_size, workers):
        moved = batch.to(device)
        matrix.update(predict_classes(network, moved.image), moved.label)
    return matrix


def _batches(
    data: SegmentationDataset, indices: Sequence[int] | None, batch_size: int, workers: int
) -> Iterator[Batch]:
    """Samples in order; neighbours of one size share a batch."""
    loader: DataLoader[Any] = DataLoader(
        Guarded(data),
        batch_size=None,
        sampler=range(len(data)) if indices is None else indices,
        num_workers=workers,
    )
    waiting: list[Sample] = []
    for sample in unguarded(iter(loader)):
        if waiting and (len(waiting) == batch_size or waiting[0].label.shape != sample.label.shape):
            yield _stack(waiting)
            waiting = []
        waiting.append(sample)
    if waiting:
        yield _stack(waiting)


def _stack(samples: Sequence[Sample]) -> Batch:
    return Batch(
        torch.stack([sample.image for sample in samples]),
        torch.stack([sample.label for sample in samples]),
        tuple(sample.name for sample in samples),
    )
