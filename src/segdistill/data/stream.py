"""The endless sequence of augmented training samples, a pure function of (seed, position)."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from segdistill.core.classes import UNLABELED
from segdistill.core.errors import DataError, SampleError
from segdistill.core.seeds import mix
from segdistill.data.augment import Augment
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.mixing import class_mix, cut_mix, paste
from segdistill.data.unlabeled import Mixed
from segdistill.data.views import View


class AugmentedSample(NamedTuple):
    """One augmented sample.

    Attributes:
        image: uint8 (3,H,W), RGB.
        label: uint8 (H,W), 255 is void.
        name: the file's stem.
        target: what `Targets` gives for it, (K,h,w), if the stream has such.
        failed: samples that it took the place of, by their index in the data set, and why.
    """

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
        first, count, place = self._part(position)
        if attempt:
            return first + mix(self.seed, position, attempt) % count
        epoch, offset = divmod(place, count)
        return first + _order(self.seed, epoch, count)[offset]

    def _part(self, position: int) -> tuple[int, int, int]:
        """The part of the data set that a position takes from: its first index, its length, and the place in it."""
        data = self.data
        if not isinstance(data, Mixed):
            return 0, len(data), position
        # Of the positions below p, floor(p * share) are unlabelled: with a share of 1/4 the last of every four.
        before, after = int(position * data.share), int((position + 1) * data.share)
        if after > before:
            return data.labeled, len(data) - data.labeled, before
        return 0, data.labeled, position - before

    def taking(self, index: int, position: int) -> AugmentedSample:
        """A sample, augmented as a position asks for.

        Args:
            index: of the sample in the data set.
            position: in the sequence.

        Returns:
            The augmented sample.

        Raises:
            SampleError: it can't be read, or the one that is pasted into it.
        """
        generator = torch.Generator().manual_seed(mix(self.seed, position))
        crop = self._crop(index, generator)
        if not self.augment.mix or torch.rand((), generator=generator) >= self.augment.mix_share:
            return crop
        first, count, _ = self._part(position)
        other = self._crop(first + mix(self.seed, position, index, count) % count, generator)
        if self.augment.mix == "cutmix":
            area = cut_mix(self.augment.crop, generator)
        else:
            area = class_mix(other.label, generator)
        target = None if other.target is None or crop.target is None else paste(other.target, crop.target, area)
        return crop._replace(
            image=paste(other.image, crop.image, area), label=paste(other.label, crop.label, area), target=target
        )

    def _crop(self, index: int, generator: torch.Generator) -> AugmentedSample:
        """The sample at an index of the data set, augmented."""
        try:
            return self._read(index, generator)
        except DataError as error:
            failure = SampleError(str(error))
            failure.index = index
            raise failure from error

    def _read(self, index: int, generator: torch.Generator) -> AugmentedSample:
        sample = self.data[index]
        if not sample.labeled:
            sample = replace(sample, label=torch.full_like(sample.label, UNLABELED))
        image, label, view = self.augment.viewed(sample, generator)
        target = None if self.targets is None else self.targets(index, sample, view)
        return AugmentedSample(image, label, sample.name, target)
