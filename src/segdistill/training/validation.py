"""Validation of a run's student: shared between the processes, with a loader that lives as long as the run."""

from __future__ import annotations

import contextlib

import torch
from accelerate import Accelerator

from segdistill.data.base import SegmentationDataset
from segdistill.evaluation.finite import NonFiniteScoresError
from segdistill.evaluation.metrics import Scores
from segdistill.evaluation.scoring import count, sample_loader
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig
from segdistill.models.files import save_weights
from segdistill.models.network import SegmentationNetwork
from segdistill.runs.checkpoint import Progress
from segdistill.runs.folder import RunFolder
from segdistill.runtime.failures import explained
from segdistill.runtime.interruption import StopNow, StopRequest
from segdistill.runtime.processes import agree, first_message, own_share


class Validation:
    """Scores of the student on the validation images; the weights of the best are kept in the folder.

    Args:
        folder: Of the run.
        student: The network that trains.
        data: The validation images.
        inference: How they are run through it.
        metrics: What is measured, of which only the confusion matrix's part is.
        workers: Processes that load images. They start with the first validation and then wait for the next.
        accelerator: Device and processes.
    """

    def __init__(
        self,
        folder: RunFolder,
        student: SegmentationNetwork,
        data: SegmentationDataset,
        *,
        inference: InferenceConfig,
        metrics: MetricsConfig,
        workers: int,
        accelerator: Accelerator,
    ) -> None:
        self._folder, self._student, self._data = folder, student, data
        self._inference, self._metrics, self._accelerator = inference, metrics.confusion_only(), accelerator
        self._loader = sample_loader(data, own_share(len(data)), workers, lasting=True)

    def close(self) -> None:
        """End the processes that load images. The garbage collector would wait five seconds for each, at any time."""
        self._loader._iterator = None

    def __call__(self, progress: Progress, stop: StopRequest) -> Scores:
        """Validate the student as it is after `progress.step` steps.

        Args:
            progress: of the run; the best mIoU and its step are written to it.
            stop: a signal ends the validation at once.

        Returns:
            The scores of all images, the same in all processes.

        Raises:
            NonFiniteScoresError: in all processes, if the student's scores of an image of one are not finite.
            StopNow: a signal came.
        """
        accelerator = self._accelerator
        if accelerator.num_processes > 1:  # running statistics differ by process; the main one's are handed over
            for buffer in self._student.buffers():
                torch.distributed.broadcast(buffer, src=0)
        counts, failure = None, None
        alone = accelerator.num_processes == 1  # of several, each must tell the others
        left = contextlib.nullcontext() if alone else contextlib.suppress(StopNow)
        with explained("validating"), left, stop.at_once():
            try:
                counts = count(
                    self._student, self._data, inference=self._inference, metrics=self._metrics, loader=self._loader,
                    source=f"The student after step {progress.step}",
                )  # fmt: skip
            except NonFiniteScoresError as error:
                failure = str(error)
        failure = first_message(failure)  # of several processes, none may go on to wait for one that stops here
        if failure:
            raise NonFiniteScoresError(failure)
        if agree(stop.received, accelerator) or counts is None:
            raise StopNow
        scores = counts.sum_over(accelerator.reduce).quality().scores
        if scores.miou > progress.best_miou:
            progress.best_miou, progress.best_step = scores.miou, progress.step
            if accelerator.is_main_process:
                save_weights(self._folder.best, self._student.state_dict())
        return scores
