"""The training loop. Every step is a pure function of (seed, step), so a resumed run equals an uninterrupted one."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from segdistill.data.base import SegmentationDataset
from segdistill.data.loading import Batch, Share, Stream, training_batches
from segdistill.errors import CheckpointError, RecipeError, TrainingError
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
from segdistill.training.folder import Journal, RunFolder
from segdistill.training.interruption import Interrupted, StopNow, StopRequest
from segdistill.training.processes import start_accelerator
from segdistill.training.schedule import make_optimizer, own_optimizers, parameters_of, set_rate

_AUTOCAST = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
    _saved: int = field(default=-1, init=False)  # the step of the newest state

    def __call__(self) -> Progress:
        config = self.config
        accelerator = start_accelerator()
        share = _share(config, accelerator)
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.distiller.to(accelerator.device, memory_format=layout)  # type: ignore[call-overload]
        for teacher in self.distiller.teacher:
            teacher.to(accelerator.device, memory_format=layout)  # type: ignore[call-overload]
        own = own_optimizers(self.distiller.methods)
        optimizer = make_optimizer(config.optimizer, self.distiller.student, self.distiller.methods, own)
        scaler = torch.amp.GradScaler(accelerator.device.type, enabled=config.precision == "fp16")
        parts: dict[str, Any] = {"distiller": self.distiller, "optimizer": optimizer, "scaler": scaler}
        parts |= {f"own_optimizer{number}": each for number, each in enumerate(own)}
        progress, whence = self.folder.restore(parts)
        self._saved = progress.step
        _require_equal(progress.step, accelerator)
        model = accelerator.prepare_model(self.distiller)
        batches = training_batches(self.stream, share, start=progress.step, stop=config.steps, workers=config.workers)
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
            if accelerator.num_processes == 1:  # of several, no one may leave while the others wait for it
                batches = stop.waiting(batches, share.accumulate)
            while progress.step < config.steps or progress.validating:
                if progress.validating:
                    scores = self._validate(accelerator, progress, stop)
                    display.say(f"step {progress.step}: mIoU {scores.miou:.2f} on validation")
                    if journal is not None:
                        journal.write("validation", progress.step, scores.as_dict())
                    progress.validating = False
                    continue
                began = time.perf_counter()
                rate = set_rate(optimizer, config.schedule.factor(progress.step, config.steps))
                torch.manual_seed(mix(config.seed, progress.step, accelerator.process_index))
                terms = self._step(model, batches, share, accelerator, scaler, progress.step)
                if config.clip_grad is not None:
                    scaler.unscale_(optimizer)
                    taken = set(parameters_of(own))
                    clipped = [parameter for parameter in self.distiller.parameters() if parameter not in taken]
                    nn.utils.clip_grad_norm_(clipped, config.clip_grad)
                for each in (optimizer, *own):
                    scaler.step(each)
                scaler.update()
                for each in (optimizer, *own):
                    each.zero_grad(set_to_none=True)
                progress.step += 1
                progress.seconds += time.perf_counter() - began

                display.step(progress.step, terms)
                last = progress.step == config.steps
                if journal is not None and (last or progress.step % config.log_every == 0):
                    journal.write("train", progress.step, {**terms, "lr": rate, "seconds": progress.seconds})
                progress.validating = last or progress.step % validate_every == 0
                if last or progress.step % checkpoint_every == 0:  # a validation that is cut short is made again
                    self._save(progress, parts, accelerator)
                if _agree(stop.received, accelerator):
                    raise StopNow
        return progress

    def _save(self, progress: Progress, parts: dict[str, Any], accelerator: Accelerator) -> None:
        if accelerator.is_main_process:
            self._require_finite(progress.step)
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

    def _step(
        self,
        model: nn.Module,
        batches: Iterator[Batch],
        share: Share,
        accelerator: Accelerator,
        scaler: torch.amp.GradScaler,
        step: int,
    ) -> dict[str, float]:
        """Forward and backward over the micro-batches of a step; the terms, averaged over them."""
        self.distiller.train()
        device = accelerator.device
        dtype = _AUTOCAST[self.config.precision]
        sums: dict[str, Tensor] = {}
        for part in range(share.accumulate):
            batch = next(batches).to(device)
            syncs = part == share.accumulate - 1
            with contextlib.nullcontext() if syncs else accelerator.no_sync(model):
                with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
                    terms: dict[str, Tensor] = model(batch.image, batch.label, step)
                loss = torch.stack(list(terms.values())).sum()
                scaler.scale(loss / share.accumulate).backward()
            for name, value in terms.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() / share.accumulate
        values = dict(zip(sums, torch.stack(list(sums.values())).tolist(), strict=True))
        for name, number in values.items():
            if number != number or number in (float("inf"), float("-inf")):
                raise TrainingError(
                    f"Loss term '{name}' is {number} at step {step + 1} (images {', '.join(batch.names)}). The last "
                    f"good checkpoint is kept in {self.folder.last.parent}. Try a lower learning rate "
                    f"(optimizer.lr={self.config.optimizer.lr / 4:g}), clip_grad=10 or precision=fp32."
                )
        return values

    def _require_finite(self, step: int) -> None:
        """Never let weights that overflowed in the last step replace a good checkpoint."""
        for name, value in self.distiller.student.state_dict().items():
            if value.is_floating_point() and not value.isfinite().all():
                raise TrainingError(
                    f"Tensor '{name}' of the student is not finite after step {step}. The last good checkpoint is kept "
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


def _share(config: TrainingConfig, accelerator: Accelerator) -> Share:
    pieces = accelerator.num_processes * config.accumulate
    if config.batch_size % pieces:
        raise RecipeError(
            f"batch_size {config.batch_size} can't be shared by {accelerator.num_processes} processes in "
            f"{config.accumulate} micro-batches; choose a multiple of {pieces}."
        )
    return Share(config.batch_size, accelerator.process_index, accelerator.num_processes, config.accumulate)


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
