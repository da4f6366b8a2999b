"""The training loop. Every step is a pure function of (seed, step), so a resumed run equals an uninterrupted one."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from segdistill.data.base import SegmentationDataset
from segdistill.data.loading import Stream, training_batches
from segdistill.errors import CheckpointError, TrainingError
from segdistill.evaluation.metrics import Scores
from segdistill.evaluation.scoring import count
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig
from segdistill.models.files import save_weights
from segdistill.recipe import TrainingConfig
from segdistill.seeds import mix
from segdistill.training.checkpoint import Progress, save_state
from segdistill.training.display import Display
from segdistill.training.distiller import Distiller
from segdistill.training.failures import explained
from segdistill.training.faults import Faults, Memory, first_not_finite, read
from segdistill.training.folder import Journal, RunFolder
from segdistill.training.interruption import Interrupted, StopNow, StopRequest
from segdistill.training.norms import synchronise_norms
from segdistill.training.processes import own_batches, start_accelerator
from segdistill.training.schedule import make_optimizer, own_optimizers, parameters_of, set_rate
from segdistill.training.sharding import place
from segdistill.training.step import forward_backward
from segdistill.training.unreadable import Unreadable

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
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.distiller.to(accelerator.device, memory_format=layout)  # type: ignore[call-overload]
        for teacher in self.distiller.teacher:
            place(teacher, accelerator.device, layout)
        own = own_optimizers(self.distiller.methods)
        optimizer = make_optimizer(config.optimizer, self.distiller.student, self.distiller.methods, own)
        scaler = torch.amp.GradScaler(accelerator.device.type, enabled=config.precision == "fp16")
        parts: dict[str, Any] = {"distiller": self.distiller, "optimizer": optimizer, "scaler": scaler}
        parts |= {f"own_optimizer{number}": each for number, each in enumerate(own)}
        progress, whence = self.folder.restore(parts)
        self._saved = progress.step
        _require_equal(progress.step, accelerator)
        taken = set(parameters_of(own))
        shared = [parameter for parameter in self.distiller.parameters() if parameter not in taken]
        memory = Memory(self.distiller, queues=config.on_nonfinite != "stop")
        rank, world = accelerator.process_index, accelerator.num_processes
        faults = Faults(self.folder.path, self.distiller, config, rank, world)
        model = accelerator.prepare_model(self.distiller)
        unreadable = Unreadable(config, len(self.stream.data), world)
        batches = training_batches(
            self.stream, share, start=progress.step, stop=until, workers=config.workers, skip=unreadable.skips
        )
        quiet = self.quiet or not accelerator.is_main_process
        validate_every = config.validate_every or max(1, config.steps // 10)
        checkpoint_every = config.checkpoint_every or max(1, config.steps // 10)
        with (
            StopRequest() as stop,
            Display(self.title, start=progress.step, steps=config.steps, quiet=quiet) as display,
            Journal(self.folder, progress) if accelerator.is_main_process else contextlib.nullcontext() as journal,
            self._saving_when_stopped(progress, parts, stop, accelerator),
        ):
            if whence:
                display.say(whence)
            if world == 1:  # of several, no one may leave while the others wait for it
                batches = stop.waiting(batches, share.accumulate)
            while progress.step < until or progress.validating:
                if progress.validating:
                    scores = self._validate(accelerator, progress, stop)
                    display.say(f"step {progress.step}: mIoU {scores.miou:.2f} on validation")
                    if journal is not None:
                        journal.write("validation", progress.step, scores.as_dict())
                    progress.validating = False
                    continue
                began = time.perf_counter()
                rate = set_rate(optimizer, progress.rate * config.schedule.factor(progress.step, config.steps))
                torch.manual_seed(mix(config.seed, progress.step, rank))
                memory.keep()
                self.distiller.train()
                parts_read = [next(batches).to(accelerator.device) for _ in range(config.accumulate)]
                for index, why in unreadable.note(parts_read, progress).items():
                    display.say(f"replaced by another sample: {why}")
                    if journal is not None:
                        journal.write("unreadable", progress.step + 1, {"sample": index, "why": why})
                losses = forward_backward(
                    model, parts_read, progress.step, precision=config.precision, scaler=scaler,
                    unsynced=lambda: accelerator.no_sync(model),
                )  # fmt: skip
                # In fp16 gradients that are not finite are usual: the scaler looks for them, leaves the step out, and
                # scales less.
                norms = [] if scaler.is_enabled() else [_norm(each) for each in (shared, taken) if each]
                found = read(losses, norms)
                if found.faults:
                    memory.restore()
                    places = share.positions(progress.step)
                    told = faults.answer(found, parts_read, places, progress, scaler.get_scale())
                    display.say(told)
                    if journal is not None:
                        journal.write("fault", progress.step + 1, {"told": told, "lr_factor": progress.rate})
                else:
                    if config.clip_grad is not None:
                        scaler.unscale_(optimizer)
                        nn.utils.clip_grads_with_norm_(shared, config.clip_grad, norms[0] if norms else _norm(shared))
                    for each in (optimizer, *own):
                        scaler.step(each)
                    scaler.update()
                for each in (optimizer, *own):
                    each.zero_grad(set_to_none=True)
                progress.step += 1
                progress.seconds += time.perf_counter() - began

                display.step(progress.step, found.joint)
                last = progress.step == config.steps
                logged = not found.faults and (last or progress.step % config.log_every == 0)
                if journal is not None and logged:
                    journal.write("train", progress.step, {**found.joint, "lr": rate, "seconds": progress.seconds})
                progress.validating = last or progress.step % validate_every == 0
                if last or progress.step % checkpoint_every == 0:  # a validation that is cut short is made again
                    self._save(progress, parts, accelerator)
                if _agree(stop.received, accelerator):
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

    @contextlib.contextmanager
    def _saving_when_stopped(
        self, progress: Progress, parts: dict[str, Any], stop: StopRequest, accelerator: Accelerator
    ) -> Iterator[None]:
        """Between two steps `StopNow` becomes a saved state and `Interrupted`."""
        try:
            yield
        except StopNow:
            number = _agree(stop.received, accelerator)
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

    def _validate(self, accelerator: Accelerator, progress: Progress, stop: StopRequest) -> Scores:
        if accelerator.num_processes > 1:  # running statistics differ by process; the main one's are handed over
            for buffer in self.distiller.student.buffers():
                torch.distributed.broadcast(buffer, src=0)
        indices = range(accelerator.process_index, len(self.validation), accelerator.num_processes)
        counts = None
        alone = accelerator.num_processes == 1  # of several, each must tell the others
        left = contextlib.nullcontext() if alone else contextlib.suppress(StopNow)
        with explained("validating"), left, stop.at_once():
            counts = count(
                self.distiller.student,
                self.validation,
                inference=self.inference,
                metrics=self.metrics.confusion_only(),
                indices=indices,
            )
        if _agree(stop.received, accelerator) or counts is None:
            raise StopNow
        scores = counts.sum_over(accelerator.reduce).quality().scores
        if scores.miou > progress.best_miou:
            progress.best_miou, progress.best_step = scores.miou, progress.step
            if accelerator.is_main_process:
                save_weights(self.folder.best, self.distiller.student.state_dict())
        return scores


def _norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The 2-norm of all gradients together."""
    return nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])


def _agree(received: int | None, accelerator: Accelerator) -> int:
    """The signal that any process received, or 0; all processes then stop after the same step."""
    number = received or 0
    if accelerator.num_processes == 1:
        return number
    numbers = accelerator.gather(torch.tensor([number], device=accelerator.device))
    return int(numbers.max())


def _require_equal(step: int, accelerator: Accelerator) -> None:
    """Refuse processes that found different states, as on a disk that is shared late."""
    steps = accelerator.gather(torch.tensor([step], device=accelerator.device)).tolist()
    if len(set(steps)) > 1:
        raise CheckpointError(f"The processes found states of different steps: {steps}. Start the command once more.")
