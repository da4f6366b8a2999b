"""Scores of a network on a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.utils.data import DataLoader

from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.loading import Batch, collate
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
    loader: DataLoader[Sample] = DataLoader(
        data,  # type: ignore[arg-type]  # a map from index to sample is all a loader needs
        batch_size=None,
        sampler=range(len(data)) if indices is None else indices,
        num_workers=workers,
    )
    waiting: list[tuple[torch.Tensor, torch.Tensor, str]] = []
    for sample in loader:
        if waiting and (len(waiting) == batch_size or waiting[0][1].shape != sample.label.shape):
            yield collate(waiting)
            waiting = []
        waiting.append((sample.image, sample.label, sample.name))
    if waiting:
        yield collate(waiting)
