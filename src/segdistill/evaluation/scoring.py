"""Scores of a network on a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from segdistill.core.classes import IGNORE_INDEX
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.loading import Batch, Guarded, unguarded, worker_init
from segdistill.evaluation.boundary import BoundaryCounts, BoundaryScores
from segdistill.evaluation.calibration import Calibration
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.inference.preparing import MANY, prepared
from segdistill.evaluation.metrics import ConfusionMatrix, Scores, plain
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig


@dataclass(frozen=True)
class Agreement:
    """How far a network agrees with another, in percent.

    Attributes:
        pixels: share of non-void pixels of equal class.
        miou: against the other's classes as labels.
    """

    pixels: float
    miou: float


@dataclass(frozen=True)
class Quality:
    """Everything that was measured; None is what was not asked for.

    Attributes:
        scores: of the confusion matrix.
        boundary: near and away from boundaries.
        calibration_error: expected, in percent.
        agreement: with the teacher.
    """

    scores: Scores
    boundary: BoundaryScores | None
    calibration_error: float | None
    agreement: Agreement | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the keys of `Scores` first; what was not asked for is left out."""
        extra = {
            "boundary": self.boundary and asdict(self.boundary),
            "calibration_error": self.calibration_error,
            "agreement": self.agreement and asdict(self.agreement),
        }
        return {**self.scores.as_dict(), **plain({key: value for key, value in extra.items() if value is not None})}


class Counts:
    """The integers that all scores are made of; those of several processes are added with `sum_over`.

    Args:
        num_classes: K.
        metrics: what is counted.
        device: where the counts are.
        ignore: indices of the classes that are no part of the means.
    """

    def __init__(
        self,
        num_classes: int,
        metrics: MetricsConfig,
        device: torch.device | str = "cpu",
        ignore: Sequence[int] = (),
    ) -> None:
        self.metrics, self.ignore = metrics, ignore
        self.confusion = ConfusionMatrix(num_classes, device)
        self.boundary = BoundaryCounts(num_classes, metrics, device) if metrics.boundary else None
        self.calibration = Calibration(metrics.bins, device) if metrics.calibration else None
        self.agreement = ConfusionMatrix(num_classes, device) if metrics.agreement else None

    def update(
        self, predicted: Tensor, label: Tensor, confidence: Tensor | None = None, other: Tensor | None = None
    ) -> None:
        """Add images of one size.

        Args:
            predicted: class indices (N,H,W).
            label: class indices or void (N,H,W).
            confidence: probabilities (N,H,W) of the predicted classes, for `metrics.calibration`.
            other: another network's class indices (N,H,W), for `metrics.agreement`.
        """
        self.confusion.update(predicted, label)
        if self.boundary is not None:
            self.boundary.update(predicted, label)
        if self.calibration is not None:
            assert confidence is not None
            self.calibration.update(confidence, predicted, label)
        if self.agreement is not None:
            assert other is not None
            self.agreement.update(predicted, torch.where(label == IGNORE_INDEX, label, other.to(label.dtype)))

    def sum_over(self, processes: Callable[[Tensor], Tensor]) -> Counts:
        """Replace every count by its sum over processes.

        Args:
            processes: makes a tensor of one process the sum over all.

        Returns:
            Itself.
        """
        for part in (self.confusion, self.calibration, self.agreement):
            if part is not None:
                part.counts = processes(part.counts)
        if self.boundary is not None:
            for counts in self.boundary.tensors():
                counts.copy_(processes(counts))
        return self

    def quality(self) -> Quality:
        """The scores of everything counted so far."""
        counting = self.metrics.absent, self.ignore
        agreed = None if self.agreement is None else self.agreement.scores(*counting)
        return Quality(
            scores=self.confusion.scores(*counting),
            boundary=None if self.boundary is None else self.boundary.scores(*counting),
            calibration_error=None if self.calibration is None else self.calibration.error(),
            agreement=None if agreed is None else Agreement(pixels=agreed.aacc, miou=agreed.miou),
        )


def count(
    network: nn.Module,
    data: SegmentationDataset,
    *,
    inference: InferenceConfig = InferenceConfig(),  # noqa: B008 (frozen)
    metrics: MetricsConfig = MetricsConfig().confusion_only(),  # noqa: B008 (frozen)
    teacher: nn.Module | None = None,
    indices: Sequence[int] | None = None,
    batch_size: int = 4,
    workers: int = 0,
    loader: Iterable[Any] | None = None,
    on_images: Callable[[int], object] | None = None,
    source: str = "The network",
    into: Counts | None = None,
) -> Counts:
    """Run a network over a data set and count everything that `metrics` asks for.

    Args:
        network: returns `SegOutput`; runs on the device of its parameters, in evaluation mode.
        data: with labels.
        inference, metrics: how images are run, and what is counted; by default the confusion matrix alone.
        teacher: the network whose classes `metrics.agreement` compares with.
        indices: of the samples; all if None.
        batch_size: images of one size that share a pass, fewer if their scores are more than `inference.max_elements`.
        workers, loader: processes that load images; or the caller's own `sample_loader`, in place of `indices`, too.
        on_images: called with the number of images whenever some are done.
        source: the network in words, or its file, for the message of an error.
        into: counts of other images, which these are added to.

    Returns:
        The counts; `quality()` makes scores of them.

    Raises:
        NonFiniteScoresError: scores of an image are NaN or infinite.
        DataError: an image or mask can't be read, or holds classes beyond the network's.
        RecipeError: `metrics.ignore` names a class that is not there.
    """
    device = next(chain(network.parameters(), network.buffers())).device  # an exported file has no parameters
    counts = into or Counts(len(data.classes), metrics, device, metrics.ignored(data.classes))
    if loader is None:
        loader = sample_loader(data, indices, workers)
    many = len(loader) >= MANY if isinstance(loader, Sized) else False
    for number, batch in enumerate(_batches(loader, batch_size, inference.max_elements // len(data.classes))):
        moved = batch.to(device)
        if not number and (many or inference.precision not in ("auto", "fp32")):
            network = prepared(network, moved.image, inference, folds=many)
            teacher = teacher and prepared(teacher, moved.image, inference, folds=many)
        preds = infer(network, moved.image, inference, confidence=metrics.calibration, names=batch.names, source=source)
        other = None
        if metrics.agreement:
            assert teacher is not None
            other = infer(teacher, moved.image, inference, names=batch.names, source="The teacher").classes.to(device)
        confidence = None if preds.confidence is None else preds.confidence.to(device)
        counts.update(preds.classes.to(device), moved.label, confidence, other)
        if on_images is not None:
            on_images(len(batch.names))
    return counts


def sample_loader(
    data: SegmentationDataset, indices: Sequence[int] | None = None, workers: int = 0, *, lasting: bool = False
) -> DataLoader[Any]:
    """A loader of samples in order, one at a time.

    Args:
        data: the data set.
        indices: of the samples; all if None.
        workers: processes that load; 0 loads here.
        lasting: whether the workers stay for the next time through.

    Returns:
        A loader of `Sample`s, or of the errors that `unguarded` raises.
    """
    return DataLoader(
        Guarded(data),
        batch_size=None,
        sampler=range(len(data)) if indices is None else indices,
        num_workers=workers,
        persistent_workers=lasting and workers > 0,
        generator=torch.Generator(),  # a loader draws a number when it starts, which must not be one of the caller's
        worker_init_fn=worker_init,
    )


def _batches(loader: Iterable[Any], batch_size: int, most_pixels: int) -> Iterator[Batch]:
    """Samples in order; neighbours of one size share a batch as long as it has no more than `most_pixels`."""
    waiting: list[Sample] = []
    for sample in unguarded(iter(loader)):
        if waiting:
            size = waiting[0].label.shape
            most = max(1, min(batch_size, most_pixels // size.numel()))
            if len(waiting) >= most or size != sample.label.shape:
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
