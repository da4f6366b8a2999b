"""Validation of a run's student: shared between the processes, with a loader that lives as long as the run."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from segdistill.core.colors import Pixels, as_picture, colorise
from segdistill.data.base import SegmentationDataset
from segdistill.data.spread import chosen
from segdistill.evaluation.finite import NonFiniteScoresError
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.metrics import Scores
from segdistill.evaluation.scoring import Counts, count, sample_loader
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig
from segdistill.models.files import save_weights
from segdistill.models.network import SegmentationNetwork
from segdistill.recipe.training import TrainingConfig
from segdistill.runs.checkpoint import Progress
from segdistill.runs.folder import RunFolder
from segdistill.runtime.display import Display
from segdistill.runtime.failures import explained
from segdistill.runtime.interruption import StopNow, StopRequest
from segdistill.runtime.processes import agree, first_message, own_share

_LONGEST_SIDE = 512
"""Pixels of a panel of a picture for the trackers."""

_LONG = 60.0
"""Seconds of a validation from which on people are told that it takes longer than the training so far."""


class Validation:
    """Scores of the student on the validation images; the weights of the best are kept in the folder.

    Args:
        folder: Of the run.
        student: The network that trains.
        data: The validation images.
        config: How it is trained: which images are looked at on the way, and how many processes load them. They start
            with the first validation and then wait for the next.
        inference: How images are run through it.
        metrics: What is measured, of which only the confusion matrix's part is.
        accelerator: Device and processes.
        display: Shows how far a validation is.
    """

    def __init__(
        self,
        folder: RunFolder,
        student: SegmentationNetwork,
        data: SegmentationDataset,
        *,
        config: TrainingConfig,
        inference: InferenceConfig,
        metrics: MetricsConfig,
        accelerator: Accelerator,
        display: Display,
    ) -> None:
        self._folder, self._student, self._data, self._config = folder, student, data, config
        self._inference, self._metrics, self._accelerator = inference, metrics.confusion_only(), accelerator
        self._display, self._warned = display, False
        part = chosen(len(data), config.validate_images, config.seed if config.validate_images else None)
        rest = sorted({*range(len(data))} - {*part})
        self.images = len(part)
        self._loaders = [
            sample_loader(data, [indices[place] for place in own_share(len(indices))], config.workers, lasting=True)
            for indices in ([part, rest] if rest else [part])
        ]

    def close(self) -> None:
        """End the processes that load images. The garbage collector would wait five seconds for each, at any time."""
        for loader in self._loaders:
            loader._iterator = None

    def __call__(self, progress: Progress, stop: StopRequest) -> Scores:
        """Validate the student as it is after `progress.step` steps.

        Args:
            progress: of the run; the best mIoU and its step are written to it.
            stop: a signal ends the validation at once.

        Returns:
            The scores, the same in all processes: of all images after the last step, before it of those that
            `validate_images` takes.

        Raises:
            NonFiniteScoresError: in all processes, if the student's scores of an image of one are not finite.
            StopNow: a signal came.
        """
        if self._accelerator.num_processes > 1:  # running statistics differ by process; the main one's are handed over
            for buffer in self._student.buffers():
                torch.distributed.broadcast(buffer, src=0)
        is_last = progress.step == self._config.steps
        counts: Counts | None = None
        scores: list[Scores] = []
        for loader in self._loaders if is_last else self._loaders[:1]:
            counts = self._counted(loader, progress, stop, counts)
            scores.append(copy.deepcopy(counts).sum_over(self._accelerator.reduce).quality().scores)
        if progress.best_of not in (0, self.images):  # resumed with another `validate_images`: no score to compare with
            progress.best_miou, progress.best_step = -1.0, 0
        progress.best_of = self.images
        if scores[0].miou > progress.best_miou:
            progress.best_miou, progress.best_step = scores[0].miou, progress.step
            if self._accelerator.is_main_process:
                save_weights(self._folder.best, self._student.state_dict())
        return scores[-1]

    def pictures(self, most: int) -> dict[str, Pixels]:
        """Image, label and prediction of a few validation images, evenly spread and the same ones every time.

        Args:
            most: Images to draw.

        Returns:
            RGB uint8 (h,3w,3) by name, every side of the three at most 512 pixels.
        """
        drawn = {}
        for number, index in enumerate(chosen(len(self._data), most)):
            sample = self._data[index]
            image = sample.image[None].to(self._accelerator.device)
            predicted = infer(self._student, image, self._inference, names=(sample.name,)).classes[0]
            labels = [colorise(label, self._data.classes) for label in (sample.label, predicted)]
            every = -(-max(sample.label.shape) // _LONGEST_SIDE)
            panels = [pixels[::every, ::every] for pixels in (as_picture(sample.image), *labels)]
            drawn[f"validation/{number}"] = np.hstack(panels)
        return drawn

    def _counted(self, loader: DataLoader[Any], progress: Progress, stop: StopRequest, into: Counts | None) -> Counts:
        """What this process counts of the images of a loader, in all processes or in none."""
        alone = self._accelerator.num_processes == 1  # of several, each must tell the others
        left = contextlib.nullcontext() if alone else contextlib.suppress(StopNow)
        counts, failure = None, None
        with (
            explained("validating"),
            left,
            self._display.counting("validation", len(loader)) as count_images,
            stop.at_once(),
        ):
            try:
                counts = count(
                    self._student, self._data, inference=self._inference, metrics=self._metrics, loader=loader,
                    source=f"The student after step {progress.step}", into=into,
                    on_images=lambda number: self._warn_if_long(count_images(number), progress),
                )  # fmt: skip
            except NonFiniteScoresError as error:
                failure = str(error)
        failure = first_message(failure)  # of several processes, none may go on to wait for one that stops here
        if failure:
            raise NonFiniteScoresError(failure)
        if agree(stop.received, self._accelerator) or counts is None:
            raise StopNow
        return counts

    def _warn_if_long(self, seconds: float, progress: Progress) -> None:
        """Say once that a validation takes longer than the training so far, and what makes the next ones shorter."""
        if self._warned or progress.step == self._config.steps or seconds < max(_LONG, progress.seconds):
            return
        self._warned = True
        self._display.log(
            f"this validation of {self.images} images takes about {seconds / 60:.0f} min; the training so far took "
            f"{progress.seconds / 60:.1f}. validate_images=N looks at fewer on the way, validate_every=N less often; "
            "both may change when the run is resumed"
        )
