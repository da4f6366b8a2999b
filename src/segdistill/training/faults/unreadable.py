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
    """samples: of the training data. world: processes that share them."""

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
        """Samples of a step that are missing for the first time, and why; `DataError` beyond the limit.

        All processes get the same, and stop at the same step.
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
