"""Batches for training and validation; training batches are a pure function of (seed, step)."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segdistill.core.errors import DataError, SampleError, SegdistillError
from segdistill.data.base import SegmentationDataset
from segdistill.data.stream import AugmentedSample, Stream

_ATTEMPTS = 20  # samples that are tried for a position


@dataclass(frozen=True)
class Batch:
    """N samples of one size.

    Attributes:
        image: uint8 (N,3,H,W), RGB.
        label: uint8 (N,H,W), 255 is void.
        names: the N file stems.
        unreadable: samples that others took the place of, by their index in the data set, and why.
        target: what `Targets` gives for them, (N,K,h,w), if the stream has such.
    """

    image: Tensor
    label: Tensor
    names: tuple[str, ...]
    unreadable: tuple[tuple[int, str], ...] = ()
    target: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to a device, without waiting for it where its memory is pinned.

        Args:
            device: to copy to.

        Returns:
            The batch there.
        """
        return self._with(lambda part: part.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in pinned memory; torch's loader calls this."""
        return self._with(lambda part: part.pin_memory())

    def _with(self, change: Callable[[Tensor], Tensor]) -> Batch:
        target = None if self.target is None else change(self.target)
        return replace(self, image=change(self.image), label=change(self.label), target=target)


@dataclass(frozen=True)
class Share:
    """Which positions of a global batch this process reads.

    Attributes:
        batch_size: samples of an optimizer step, of all processes together.
        rank: of this process, from 0.
        world: how many processes there are.
        grad_accumulation: micro-batches a step.
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
            except SampleError as error:  # of this index, or of the sample that is pasted into it
                failed[error.index] = str(error)
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
    except (ConnectionError, EOFError) as error:  # the pipe of a worker that died; torch says so when SIGCHLD comes
        with contextlib.suppress(RuntimeError):  # and raises it in whatever runs then: better here than in a handler
            time.sleep(1)
        raise RuntimeError(f"DataLoader worker has gone: {error}") from error
    finally:
        del value, values  # the error's traceback would keep the loader and its workers alive


def worker_init(worker: int) -> None:
    """Leave Ctrl-C and SIGTERM to the run, which needs its workers to save and leave, and ends them itself.

    A terminal sends SIGINT to a process group, which a worker is taken out of; SLURM sends SIGTERM to all processes.

    Args:
        worker: its number, which torch hands over.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(run: int) -> None:
    """Wait for a SIGTERM of the process `run`; those of others, which it has, too, don't count."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != run:
        pass
    os._exit(0)


def collate(samples: Sequence[Any]) -> Batch | SegdistillError:
    """Samples as a batch.

    Args:
        samples: of one size, `AugmentedSample`s or errors, as `Stream`, `Guarded` and `Replacing` give them.

    Returns:
        The batch, its images as `torch.channels_last`, in which networks take them; or the first error of the samples.
    """
    good: list[AugmentedSample] = []
    for sample in samples:
        if isinstance(sample, SegdistillError):
            return sample
        good.append(sample)
    targets = [sample.target for sample in good if sample.target is not None]
    return Batch(
        torch.stack([sample.image.permute(1, 2, 0) for sample in good]).permute(0, 3, 1, 2),
        torch.stack([sample.label for sample in good]),
        tuple(sample.name for sample in good),
        tuple(each for sample in good for each in sample.failed),
        torch.stack(targets) if targets else None,
    )
