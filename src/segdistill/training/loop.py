"""The training loop. Every step is a pure function of (seed, step), so a resumed run equals an uninterrupted one."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import torch
from accelerate import Accelerator

from segdistill.core.errors import CheckpointError, TrainingError
from segdistill.data.base import SegmentationDataset
from segdistill.data.loading import Batch, training_batches
from segdistill.data.stream import Stream
from segdistill.evaluation.finite import NonFiniteScoresError, first_not_finite
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig
from segdistill.recipe.training import TrainingConfig
from segdistill.runs.checkpoint import Progress, save_state
from segdistill.runs.folder import RunFolder
from segdistill.runs.journal import Journal
from segdistill.runtime.allocator import keep_freed_memory
from segdistill.runtime.display import Display
from segdistill.runtime.interruption import Interrupted, StopNow, StopRequest
from segdistill.runtime.processes import agree, start_accelerator
from segdistill.training.averaging import MovingAverage
from segdistill.training.compiling import compile_networks
from segdistill.training.distiller import Distiller
from segdistill.training.faults.nonfinite import Faults, Snapshot
from segdistill.training.faults.unreadable import Unreadable
from segdistill.training.forecast import Pace
from segdistill.training.norms import synchronize_norms
from segdistill.training.sharding import place_teacher
from segdistill.training.shares import own_batches
from segdistill.training.stepper import Stepper
from segdistill.training.update import Update
from segdistill.training.validation import Validation

_SMALLEST_SCALE = 2.0**-14  # thirty halvings below the first


class Trainer:
    """Trains a student from the newest state in its folder, or from the start, to the last step.

    Args:
        title: Heads what is shown of the progress.
        folder: Where the run writes; claimed already.
        distiller: Student, methods and teacher.
        stream: The training samples.
        validation: The images that the student is validated with; None for a student without classes.
        config: How it is trained.
        inference: How images are run through the student when it is validated.
        metrics: What is measured then.
        quiet: Show no progress.
        pace: Times the first steps.
        until: The step to end at, before the last one; only `replay` does so.

    Raises:
        CheckpointError: If the folder's state can't be gone on from.
    """

    def __init__(
        self,
        *,
        title: str,
        folder: RunFolder,
        distiller: Distiller,
        stream: Stream,
        validation: SegmentationDataset | None,
        config: TrainingConfig,
        inference: InferenceConfig,
        metrics: MetricsConfig,
        quiet: bool = False,
        pace: Pace | None = None,
        until: int | None = None,
    ) -> None:
        self.folder, self.distiller, self.stream, self.config = folder, distiller, stream, config
        self.until = until or config.steps
        self.accelerator = start_accelerator()
        self.share = own_batches(config)
        runs_teacher = stream.targets is None  # else all its logits are cached
        self._place_networks(runs_teacher)
        if runs_teacher:
            distiller.fold_teacher(stream.augment.crop)
        self.update = Update(distiller, config, self.accelerator.device)
        self.average = None if config.ema is None else MovingAverage(distiller.student, config.ema)
        self.states: dict[str, Any] = {"distiller": distiller, **self.update.states()}
        if self.average is not None:
            self.states["average"] = self.average
        self.progress, self._restored = folder.restore(self.states)
        self._saved = self.progress.step  # of the newest state
        self._check_progress()
        quiet = quiet or not self.accelerator.is_main_process
        self.display = Display(title, start=self.progress.step, steps=config.steps, quiet=quiet)
        compile_networks(distiller, config, folder, stream.augment.crop, self.display.log, compile_teacher=runs_teacher)
        self.model = self.accelerator.prepare_model(distiller)
        self.unreadable = Unreadable(config, len(stream.data), self.accelerator.num_processes)
        self.validation = None if validation is None else Validation(
            folder, distiller.student if self.average is None else self.average.module, validation,
            config=config, inference=inference, metrics=metrics, accelerator=self.accelerator, display=self.display,
        )  # fmt: skip
        self.stop = StopRequest()
        self.pace = pace

    def train(self) -> Progress:
        """Make all steps that are not made yet; what the run remembers in the end.

        Raises:
            TrainingError: If a number is not finite and the recipe says to stop then.
            Interrupted: If a signal has ended it; its state is saved.
        """
        progress, display = self.progress, self.display
        batches = self._batches()
        with (
            self.stop,
            contextlib.nullcontext() if self.validation is None else contextlib.closing(self.validation),
            display,
            Journal(self.folder, progress, self.config.log) as journal,
            self._saving_when_stopped(),
        ):
            step = self._stepper(journal)
            if self._restored:
                display.log(self._restored)
            while progress.step < self.until or progress.validating:
                if progress.validating:
                    self._validate(journal)
                    continue
                reading, rate = step(batches, progress)
                display.step(progress.step, reading.joint)
                if self.pace is not None and not self.distiller.measures(progress.step - 1):
                    self.pace.step()
                if self.average is not None and not reading.faults:
                    self.average.update_parameters(self.distiller.student)
                for number in self.distiller.shares.fixed_at(progress.step):
                    self._note_factors(number, journal)
                if not reading.faults and self._is_due(self.config.log_every):
                    journal.write("train", progress.step, {**reading.joint, "lr": rate, "seconds": progress.seconds})
                progress.validating = self.validation is not None and self._is_due(self.config.validate_every)
                if self._is_due(self.config.checkpoint_every):  # before the validation: cut short, it is made again
                    self._save()
                if agree(self.stop.received, self.accelerator):
                    raise StopNow
            if progress.unreadable:
                display.log(f"{len(progress.unreadable)} training samples could not be read; others took their place")
        if self.average is not None:
            self.average.copy_to(self.distiller.student)
        return progress

    def _place_networks(self, runs_teacher: bool) -> None:
        """Student, methods and teacher on this process's device, their batch norms over all processes' batches."""
        accelerator, config = self.accelerator, self.config
        synchronize_norms(self.distiller, config.sync_bn, accelerator.device, accelerator.num_processes)
        keep_freed_memory(accelerator.device)
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.distiller.to(accelerator.device, memory_format=layout)  # type: ignore[call-overload]
        if self.distiller.teacher is not None and runs_teacher:
            place_teacher(self.distiller.teacher, accelerator.device, layout)

    def _check_progress(self) -> None:
        """Refuse a state of more steps than the run has, and processes that found different states."""
        step, steps = self.progress.step, self.config.steps
        if not 0 <= step <= steps:
            raise CheckpointError(
                f"The state in {self.folder.last.parent} says that {step} steps are done; the run has {steps}. "
                "Something has changed it: delete the run folder to start again."
            )
        _require_equal(step, self.accelerator)

    def _batches(self) -> Iterator[Batch]:
        """The batches of all steps to come."""
        workers, skip = self.config.workers, self.unreadable.skips
        batches = training_batches(
            self.stream, self.share, start=self.progress.step, stop=self.until, workers=workers, skip=skip
        )
        if self.accelerator.num_processes > 1:  # no process may leave while the others wait for it
            return batches
        return self.stop.waiting(batches, self.share.grad_accumulation)

    def _stepper(self, journal: Journal) -> Stepper:
        """What makes a step."""
        config, accelerator = self.config, self.accelerator
        return Stepper(
            config, self.distiller, self.model, accelerator, self.share, self.update,
            snapshot=Snapshot(self.distiller, queues=config.on_nonfinite != "stop"),
            faults=Faults(
                self.folder.path, self.distiller, config, accelerator.process_index, accelerator.num_processes
            ),
            unreadable=self.unreadable, log=self.display.log, write=journal.write,
        )  # fmt: skip

    def _is_due(self, every: int | None) -> bool:
        """Whether the step that is done is the last, or one of `every` so many; None is a tenth of the run."""
        step, steps = self.progress.step, self.config.steps
        return step == steps or step % (every or max(1, steps // 10)) == 0

    def _note_factors(self, number: int, journal: Journal) -> None:
        """Say and write what a method's terms are multiplied with from here on."""
        shares, step = self.distiller.shares, self.progress.step
        waiting = shares.waiting(number, step)
        factors = {name: factor for name, factor in shares.factors(number).items() if name not in waiting}
        if factors:
            listed = ", ".join(f"{name} {factor:.3g}" for name, factor in factors.items())
            self.display.log(f"measured beside the task loss, these terms count times: {listed}")
            journal.write("shares", step, {"factors": factors})
        if waiting:
            self.display.log(
                f"{', '.join(waiting)}: no gradient yet to be measured beside the task loss; counts once it has had one"
            )

    def _validate(self, journal: Journal) -> None:
        """Score the student, and keep the weights of the best."""
        progress = self.progress
        assert self.validation is not None
        try:
            scores = self.validation(progress, self.stop)
        except NonFiniteScoresError as error:
            raise self._saved_unvalidated(error) from error
        part = f" ({self.validation.images} images)" if progress.step < self.config.steps else ""
        shown = part if self.config.validate_images else ""
        self.display.log(f"step {progress.step}: mIoU {scores.miou:.2f} on validation{shown}")
        journal.write("validation", progress.step, scores.as_dict())
        if self.config.log and self.config.log_images and self.accelerator.is_main_process:
            journal.show(self.validation.pictures(self.config.log_images), progress.step)
        progress.validating = False

    def _save(self) -> None:
        """Write the state, and keep the one before it."""
        step = self.progress.step
        self._require_finite(step)  # of all processes, or the others would wait for the main one for ever
        if self.accelerator.is_main_process:
            states = {name: holder.state_dict() for name, holder in self.states.items()}
            before = self.folder.previous if step != self._saved else None
            save_state(self.folder.last, self.progress, states, before=before)
            self._saved = step

    def _saved_unvalidated(self, error: NonFiniteScoresError) -> TrainingError:
        """Save the state whose validation met scores that are not finite; the error that says how to go on."""
        progress = self.progress
        folder = self.folder.last.parent
        if first_not_finite(self.distiller.student.state_dict()):  # must not replace a good checkpoint
            return TrainingError(f"{error} The last good checkpoint is kept in {folder}.")
        # A resumed run goes on behind this validation, which would fail again; the last one has nothing behind it.
        progress.validating = progress.step == self.config.steps
        self._save()
        going_on = "makes this validation again" if progress.validating else "goes on without this validation"
        return TrainingError(
            f"{error} Nothing is lost: the state of step {progress.step} of {self.config.steps} is saved in {folder}, "
            f"and the same command with --resume {going_on}."
        )

    @contextlib.contextmanager
    def _saving_when_stopped(self) -> Iterator[None]:
        """Between two steps `StopNow` becomes a saved state and `Interrupted`."""
        try:
            yield
        except StopNow:
            number = agree(self.stop.received, self.accelerator)
            self._save()
            raise Interrupted(
                f"Stopped by {signal.Signals(number).name} after step {self.progress.step} of {self.config.steps}; "
                f"the state is saved in {self.folder.path}. Run the same command with --resume to go on.",
                128 + number,
            ) from None

    def _require_finite(self, step: int) -> None:
        """Never let weights that overflowed in the last step replace a good checkpoint, nor skip steps for ever."""
        scaler = self.update.scaler
        if scaler.is_enabled() and scaler.get_scale() < _SMALLEST_SCALE:
            raise TrainingError(
                f"At step {step} the gradients overflow in fp16 whatever the loss is scaled with (now "
                f"{scaler.get_scale():g}), so all steps are left out: some gradient is not finite in any precision, or "
                "far too large. Try precision=bf16 or fp32, which name it."
            )
        broken = first_not_finite(self.distiller.student.state_dict())
        if broken:
            raise TrainingError(
                f"Tensor '{broken}' of the student is not finite after step {step}. The last good checkpoint is kept "
                f"in {self.folder.last.parent}. Try a lower learning rate, clip_grad=10 or precision=fp32."
            )


def _require_equal(step: int, accelerator: Accelerator) -> None:
    """Refuse processes that found different states, as on a disk that is shared late."""
    steps = accelerator.gather(torch.tensor([step], device=accelerator.device)).tolist()
    if len(set(steps)) > 1:
        raise CheckpointError(f"The processes found states of different steps: {steps}. Start the command once more.")
