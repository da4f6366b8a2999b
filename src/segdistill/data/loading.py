"""Batches for training and validation; training batches are a pure function of (seed, step)."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segdistill.core.classes import UNLABELED
from segdistill.core.errors import DataError, SegdistillError
from segdistill.core.seeds import mix
from segdistill.data.augment import Augment
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.unlabeled import Mixed
from segdistill.data.views import View

_ATTEMPTS = 20  # samples that are tried for a position


@dataclass(frozen=True)
class Batch:
    """N samples of one size.

    image: uint8 (N,3,H,W) RGB. label: uint8 (N,H,W), 255 is void. names: the N file stems.
    unreadable: samples that others took the place of, by their index in the data set, and why. target: what `Targets`
    gives for them, (N,K,h,w), if the stream has such.
    """

    image: Tensor
    label: Tensor
    names: tuple[str, ...]
    unreadable: tuple[tuple[int, str], ...] = ()
    target: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        return self._with(lambda part: part.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        return self._with(lambda part: part.pin_memory())

    def _with(self, change: Callable[[Tensor], Tensor]) -> Batch:
        target = None if self.target is None else change(self.target)
        return replace(self, image=change(self.image), label=change(self.label), target=target)


class AugmentedSample(NamedTuple):
    """One augmented sample: image uint8 (3,H,W), label uint8 (H,W), name; its target (K,h,w) if the stream has such,
    and the samples it took the place of, by index, and why."""

    image: Tensor
    label: Tensor
    name: str
    target: Tensor | None = None
    failed: tuple[tuple[int, str], ...] = ()


class Targets(Protocol):
    """What the student is to imitate in the view of the sample at an index, (K,h,w)."""

    def __call__(self, index: int, sample: Sample, view: View) -> Tensor: ...


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng([seed, epoch]).permutation(count).tolist())


class Stream(Dataset[AugmentedSample]):
    """The endless augmented training sequence: position p gives sample p mod n of epoch p div n, shuffled by epoch.

    A `Mixed` data set is gone through as two, in a fixed ratio. Labels of images without a mask are `UNLABELED`.

    Args:
        data: n samples.
        augment: what is done to each.
        seed: with the position it settles order and augmentation.
        targets: what each sample is handed out with, in the same crop.
    """

    def __init__(self, data: SegmentationDataset, augment: Augment, seed: int, targets: Targets | None = None) -> None:
        self.data, self.augment, self.seed, self.targets = data, augment, seed, targets

    def __getitem__(self, position: int) -> AugmentedSample:
        return self.taking(self.index(position), position)

    def index(self, position: int, attempt: int = 0) -> int:
        """Which sample stands at a position.

        Args:
            position: in the sequence, from 0.
            attempt: how many samples that were tried for it could not be read; each time another one is taken.

        Returns:
            Its index in the data set.
        """
        if attempt:
            return mix(self.seed, position, attempt) % len(self.data)
        if not isinstance(self.data, Mixed):
            return self._shuffled(position, len(self.data))
        # Of the positions below p, floor(p * share) are unlabelled: with a share of 1/4 the last of every four.
        before, after = int(position * self.data.share), int((position + 1) * self.data.share)
        if after > before:
            return len(self.data.labeled) + self._shuffled(before, len(self.data.unlabeled))
        return self._shuffled(position - before, len(self.data.labeled))

    def _shuffled(self, position: int, count: int) -> int:
        epoch, offset = divmod(position, count)
        return _order(self.seed, epoch, count)[offset]

    def taking(self, index: int, position: int) -> AugmentedSample:
        """A sample, augmented as a position asks for.

        Args:
            index: of the sample in the data set.
            position: in the sequence.

        Returns:
            The augmented sample.

        Raises:
            DataError: it can't be read.
        """
        sample = self.data[index]
        if not sample.labeled:
            sample = replace(sample, label=torch.full_like(sample.label, UNLABELED))
        generator = torch.Generator().manual_seed(mix(self.seed, position))
        image, label, view = self.augment.viewed(sample, generator)
        target = None if self.targets is None else self.targets(index, sample, view)
        return AugmentedSample(image, label, sample.name, target)


@dataclass(frozen=True)
class Share:
    """Which positions of a global batch this process reads.

    batch_size: samples of an optimizer step, of all processes together. rank, world: of this process, and how many
    there are. grad_accumulation: micro-batches a step.
    """

    batch_size: int
    rank: int = 0
    world: int = 1
    grad_accumulation: int = 1

    @property
    def micro(self) -> int:
        """Samples in one micro-batch of one process."""
        return self.batch_size // (self.world * self.grad_accumulation)

    def positions(self, step: int) -> list[list[int]]:
        """The positions of one optimizer step.

        Args:
            step: from 0.

        Returns:
            One list a micro-batch, of `micro` positions each.
        """
        starts = (
            step * self.batch_size + (part * self.world + self.rank) * self.micro
            for part in range(self.grad_accumulation)
        )
        return [list(range(start, start + self.micro)) for start in starts]


def training_batches(
    stream: Stream, share: Share, *, start: int, stop: int, workers: int, skip: bool = False
) -> Iterator[Batch]:
    """The micro-batches of a range of steps, in order, whatever the number of workers.

    Args:
        stream: the training sequence.
        share: which positions are read here.
        start: the first optimizer step.
        stop: the one behind the last.
        workers: processes that load; 0 loads here.
        skip: replace samples that can't be read, see `Replacing`; else the first of them is raised.

    Returns:
        Batches of `share.micro` samples, `share.grad_accumulation` a step.

    Raises:
        DataError: while iterated, a sample can't be read.
        RuntimeError: while iterated, a worker has died.
    """
    plan = [positions for step in range(start, stop) for positions in share.positions(step)]
    loader: DataLoader[Any] = DataLoader(
        Replacing(stream) if skip else Guarded(stream),
        batch_sampler=plan,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
        # A loader draws a number when it starts; from a generator of its own, or a resumed run's dropout would differ.
        generator=torch.Generator(),
        worker_init_fn=worker_init,
    )
    return unguarded(iter(loader))


class Guarded(Dataset[Any]):
    """Hands over a sample's error as a value: raised in a worker it would reach people inside a traceback.

    Args:
        samples: what is loaded.
    """

    def __init__(self, samples: Stream | SegmentationDataset) -> None:
        self.samples = samples

    def __getitem__(self, index: int) -> Any:
        try:
            return self.samples[index]
        except SegdistillError as error:
            return error


class Replacing(Dataset[Any]):
    """The stream with another sample in the place of one that can't be read, and why.

    Which one depends on seed and position alone, so workers, processes and a resumed run take the same.

    Args:
        stream: the training sequence.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __getitem__(self, position: int) -> Any:
        failed: dict[int, str] = {}
        for attempt in range(_ATTEMPTS):
            index = self.stream.index(position, attempt)
            if index in failed:
                continue
            try:
                return self.stream.taking(index, position)._replace(failed=tuple(failed.items()))
            except DataError as error:
                failed[index] = str(error)
            except SegdistillError as error:
                return error
        return DataError(
            f"{len(failed)} samples drawn one after the other can't be read; is the disk still there? The first: "
            f"{next(iter(failed.values()))}"
        )


def unguarded(values: Iterator[Any]) -> Iterator[Any]:
    """The values of a loader over `Guarded` or `Replacing`; the first error among them is raised.

    Args:
        values: samples or batches, and errors.

    Yields:
        The samples or batches.

    Raises:
        SegdistillError: the first error among the values.
        RuntimeError: a worker has died.
    """
    value = None
    try:
        for value in values:
            if isinstance(value, SegdistillError):
                raise value
            yield value
    except (ConnectionError, EOFError) as error:  # torch's own words where it is not quick enough to see that it died
        raise RuntimeError(f"DataLoader worker has gone: {error}") from error
    finally:
        del value, values  # the error's traceback would keep the loader and its workers alive


def worker_init(worker: int) -> None:
    """Take a worker out of the process group: Ctrl-C is for the run, which needs its workers to save and leave.

    Args:
        worker: its number, which torch hands over.
    """
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def collate(samples: Sequence[Any]) -> Batch | SegdistillError:
    """Samples as a batch.

    Args:
        samples: of one size, `AugmentedSample`s or errors, as `Stream`, `Guarded` and `Replacing` give them.

    Returns:
        The batch; or the first error among the samples.
    """
    good: list[AugmentedSample] = []
    for sample in samples:
        if isinstance(sample, SegdistillError):
            return sample
        good.append(sample)
    targets = [sample.target for sample in good if sample.target is not None]
    return Batch(
        torch.stack([sample.image for sample in good]),
        torch.stack([sample.label for sample in good]),
        tuple(sample.name for sample in good),
        tuple(each for sample in good for each in sample.failed),
        torch.stack(targets) if targets else None,
    )
