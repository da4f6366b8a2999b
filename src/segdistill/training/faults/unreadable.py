"""Training samples that can't be read: counted over processes and resumed runs, reported once, and never too many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from segdistill.core.errors import DataError, listed
from segdistill.data.loading import Batch
from segdistill.recipe.training import TrainingConfig
from segdistill.runs.checkpoint import Progress
from segdistill.runtime.processes import total


@dataclass(frozen=True)
class Unreadable:
    """What a run does about samples that can't be read.

    Attributes:
        config: Whose `on_unreadable` and `unreadable_limit` say what is done.
        samples: Of the training data.
        world: Processes that share them.
    """

    config: TrainingConfig
    samples: int
    world: int = 1

    @property
    def skips(self) -> bool:
        """Whether another sample takes the place of one that can't be read."""
        return self.config.on_unreadable == "skip"

    @property
    def limit(self) -> int:
        """How many samples may be replaced."""
        return max(1, math.floor(self.config.unreadable_limit * self.samples))

    def note(self, batches: Sequence[Batch], progress: Progress) -> dict[int, str]:
        """Note the samples of a step that could not be read. All processes get the same, and stop at the same step.

        Args:
            batches: The step's micro-batches in this process.
            progress: Of the run, in which the samples are noted.

        Returns:
            Why each sample is missing, by its index in the data set; only those missing for the first time.

        Raises:
            DataError: There are more than the limit.
        """
        if not self.skips:
            return {}
        unread = {index: why for batch in batches for index, why in batch.unreadable}
        new = {index: why for index, why in sorted(unread.items()) if index not in progress.unreadable}
        if self.world > 1 and int(total(torch.tensor(len(new), device=batches[0].image.device))):
            shared: list[Any] = [None] * self.world
            torch.distributed.all_gather_object(shared, new)
            new = {index: why for each in shared for index, why in each.items()}
        progress.unreadable |= new
        if len(progress.unreadable) > self.limit:
            raise DataError(
                f"{len(progress.unreadable)} of {self.samples} training samples can't be read, and unreadable_limit "
                f"allows {self.limit}:\n  {listed(list(progress.unreadable.values()))}\nReplace the files and go on "
                "with --resume, or allow more with unreadable_limit=SHARE."
            )
        return new
