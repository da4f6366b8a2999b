"""The training loop. Every step is a pure function of (seed, step), so a resumed run equals an uninterrupted one."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator

from segdistill.core.errors import CheckpointError, TrainingError
from segdistill.data.base import SegmentationDataset
from segdistill.data.loading import Stream, training_batches
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
from segdistill.training.compiling import compile_networks
from segdistill.training.distiller import Distiller
from segdistill.training.faults.nonfinite import Faults, Memory
from segdistill.training.faults.unreadable import Unreadable
from segdistill.training.norms import synchronise_norms
from segdistill.training.sharding import place
from segdistill.training.shares import own_batches
from segdistill.training.stepper import Stepper
from segdistill.training.update import Update
from segdistill.training.validation import Validation

_SMALLEST_SCALE = 2.0**-14  # thirty halvings below the first


@dataclass(kw_only=True)
class Fit:
    """Everything a run trains and where it writes; call it to train to the last step."""

    title: str
    folder: RunFolder
    distiller: Distiller
    stream: Stream
    validation: SegmentationDataset
    config: TrainingConfig
    inference: InferenceConfig
    metrics: MetricsConfig
    quiet: bool = False
    until: int | None = None
    """Where to end before the last step."""
    _saved: int = field(default=-1, init=False)  # the step of the newest state

    def __call__(self) -> Progress:
        config = self.config
        until = self.until or config.steps
        accelerator = start_accelerator()
        share = own_batches(config)
        synchronise_norms(self.distiller, config.sync_bn, accelerator.device, accelerator.num_processes)
        keep_freed_memory(accelerator.device)
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.distiller.to(accelerator.device, memory_format=layout)  # type: ignore[call-overload]
        asked = self.stream.targets is None  # else all that the teacher has to say is known
        for teacher in self.distiller.teacher if asked else ():
            place(teacher, accelerator.device, layout)
        update = Update(self.distiller, config, accelerator.device)
        parts: dict[str, Any] = {"distiller": self.distiller, **update.parts()}
        progress, whence = self.folder.restore(parts)
        self._saved = progress.step
        if not 0 <= progress.step <= config.steps:
            raise CheckpointError(
                f"The state in {self.folder.last.parent} says that {progress.step} steps are done; the run has "
                f"{config.steps}. Something has changed it: delete the run folder to start again."
            )
        _require_equal(progress.step, accelerator)
        quiet = self.quiet or not accelerator.is_main_process
        display = Display(self.title, start=progress.step, steps=config.steps, quiet=quiet)
        compile_networks(self.distiller, config, self.folder, self.stream.augment.crop, display.say, teacher=asked)
        model = accelerator.prepare_model(self.distiller)
        rank, world = accelerator.process_index, accelerator.num_processes
        unreadable = Unreadable(config, len(self.stream.data), world)
        batches = training_batches(
            self.stream, share, start=progress.step, stop=until, workers=config.workers, skip=unreadable.skips
        )
        validation = Validation(
            self.folder, self.distiller.student, self.validation,
            inference=self.inference, metrics=self.metrics, workers=config.workers, accelerator=accelerator,
        )  # fmt: skip
        validate_every = config.validate_every or max(1, config.steps // 10)
        checkpoint_every = config.checkpoint_every or max(1, config.steps // 10)
        with (
            StopRequest() as stop,
            contextlib.closing(validation) as validate,
            display,
            Journal(self.folder, progress) if accelerator.is_main_process else contextlib.nullcontext() as journal,
            self._saving_when_stopped(progress, parts, stop, accelerator),
        ):
            write = journal.write if journal is not None else _nowhere
            step = Stepper(
                config, self.distiller, model, accelerator, share, update,
                memory=Memory(self.distiller, queues=config.on_nonfinite != "stop"),
                faults=Faults(self.folder.path, self.distiller, config, rank, world),
                unreadable=unreadable, say=display.say, write=write,
            )  # fmt: skip
            if whence:
                display.say(whence)
            if world == 1:  # of several, no one may leave while the others wait for it
                batches = stop.waiting(batches, share.grad_accumulation)
            while progress.step < until or progress.validating:
                if progress.validating:
                    try:
                        scores = validate(progress, stop)
                    except NonFiniteScoresError as error:
                        raise self._saved_unvalidated(error, progress, parts, accelerator) from error
                    display.say(f"step {progress.step}: mIoU {scores.miou:.2f} on validation")
                    write("validation", progress.step, scores.as_dict())
                    progress.validating = False
                    continue
                found, rate = step(batches, progress)
                display.step(progress.step, found.joint)
                last = progress.step == config.steps
                logged = not found.faults and (last or progress.step % config.log_every == 0)
                if logged:
                    write("train", progress.step, {**found.joint, "lr": rate, "seconds": progress.seconds})
                progress.validating = last or progress.step % validate_every == 0
                if last or progress.step % checkpoint_every == 0:  # a validation that is cut short is made again
                    self._save(progress, parts, accelerator)
                if agree(stop.received, accelerator):
                    raise StopNow
            if progress.unreadable:
                display.say(f"{len(progress.unreadable)} training samples could not be read; others took their place")
        return progress

    def _save(self, progress: Progress, parts: dict[str, Any], accelerator: Accelerator) -> None:
        if accelerator.is_main_process:
            self._require_sound(progress.step, parts["scaler"])
            states = {name: part.state_dict() for name, part in parts.items()}
            before = self.folder.previous if progress.step != self._saved else None
            save_state(self.folder.last, progress, states, before=before)
            self._saved = progress.step

    def _saved_unvalidated(
        self, error: NonFiniteScoresError, progress: Progress, parts: dict[str, Any], accelerator: Accelerator
    ) -> TrainingError:
        """Save the state whose validation met scores that are not finite; the error that says how to go on."""
        folder = self.folder.last.parent
        if first_not_finite(self.distiller.student.state_dict()):  # must not replace a good checkpoint
            return TrainingError(f"{error} The last good checkpoint is kept in {folder}.")
        # A resumed run goes on behind this validation, which would fail again; the last one has nothing behind it.
        progress.validating = progress.step == self.config.steps
        self._save(progress, parts, accelerator)
        going_on = "makes this validation again" if progress.validating else "goes on without this validation"
        return TrainingError(
            f"{error} Nothing is lost: the state of step {progress.step} of {self.config.steps} is saved in {folder}, "
            f"and the same command with --resume {going_on}."
        )

    @contextlib.contextmanager
    def _saving_when_stopped(
        self, progress: Progress, parts: dict[str, Any], stop: StopRequest, accelerator: Accelerator
    ) -> Iterator[None]:
        """Between two steps `StopNow` becomes a saved state and `Interrupted`."""
        try:
            yield
        except StopNow:
            number = agree(stop.received, accelerator)
            self._save(progress, parts, accelerator)
            raise Interrupted(
                f"Stopped by {signal.Signals(number).name} after step {progress.step} of {self.config.steps}; "
                f"the state is saved in {self.folder.path}. Run the same command with --resume to go on.",
                128 + number,
            ) from None

    def _require_sound(self, step: int, scaler: torch.amp.GradScaler) -> None:
        """Never let weights that overflowed in the last step replace a good checkpoint, nor skip steps for ever."""
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


def _nowhere(kind: str, step: int, values: dict[str, Any]) -> None:
    """What processes other than the main one write."""


def _require_equal(step: int, accelerator: Accelerator) -> None:
    """Refuse processes that found different states, as on a disk that is shared late."""
    steps = accelerator.gather(torch.tensor([step], device=accelerator.device)).tolist()
    if len(set(steps)) > 1:
        raise CheckpointError(f"The processes found states of different steps: {steps}. Start the command once more.")
