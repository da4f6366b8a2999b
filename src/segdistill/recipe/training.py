"""The keys that say how a network is trained."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from segdistill.core.errors import nearest
from segdistill.core.numbers import NonNegative, Positive
from segdistill.core.precision import Precision, PrecisionKey
from segdistill.core.typed_settings import MAY_CHANGE, WRITTEN_IF_SET, TypedSettings


class OptimizerConfig(TypedSettings):
    """The optimizer of the student, or of a teacher that is trained here."""

    name: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum, or AdamW."""

    lr: Positive = 0.01
    """The learning rate of the backbone before the schedule's factor."""

    weight_decay: NonNegative = 5e-4
    """The weight decay: SGD adds this times the weight to its gradient, AdamW takes it off the weight directly."""

    momentum: float = Field(0.9, ge=0, lt=1)
    """The momentum of SGD; AdamW does not use it."""

    head_lr: Positive = 1.0
    """The factor on the learning rate of everything that is not the backbone; 1 trains all at the same rate."""

    decay_norms: bool = True
    """Whether weight decay also acts on biases and normalisation layers; true is what the published protocols do."""


class ScheduleConfig(TypedSettings):
    """How the learning rate changes over a run: a factor that is a pure function of the step.

    factor(step) = min_lr + (1 - min_lr) * shape, with p = (step - warmup) / (steps - warmup) and
      shape = (1 - p)^power ("poly"), (1 + cos(pi p)) / 2 ("cosine") or 1 ("constant")
    With `warmup_ratio` the curve begins at step 0, p = step / steps, and the first `warmup` steps are multiplied with
      1 - (1 - step/warmup) (1 - warmup_ratio), as mmcv's SegFormer configs have it (1500 steps from 1e-6)
    """

    name: Literal["poly", "cosine", "constant"] = "poly"
    """The shape of the fall after the warm-up: "poly" (by `power`), "cosine" (half a wave) or "constant" (none; with
    averaged weights, `ema`, it was the better one in runs of up to 4,000 steps)."""

    power: NonNegative = 0.9
    """The exponent of "poly"; the others do not use it."""

    warmup: int = Field(0, ge=0)
    """Optimizer steps in which the rate rises linearly, from lr / warmup or as `warmup_ratio` says; 0: full at once."""

    warmup_ratio: Annotated[float | None, WRITTEN_IF_SET] = Field(None, ge=0, le=1)
    """The factor that OpenMMLab's kind of warm-up begins with, during which the curve falls already; null is the other
    kind, after which the curve begins."""

    min_lr: float = Field(0.0, ge=0, le=1)
    """Where the fall ends, as a share of the full rate; 0 falls to nothing."""

    def factor(self, step: int, steps: int) -> float:
        """What the base rate is multiplied with.

        Args:
            step: of the optimizer, from 0.
            steps: of the run.

        Returns:
            The factor, from `min_lr` to 1 after the warm-up.
        """
        if self.warmup_ratio is not None:
            rest = max(0.0, 1 - step / self.warmup) if self.warmup else 0.0
            return self._curve(step / steps) * (1 - rest * (1 - self.warmup_ratio))
        if step < self.warmup:
            return (step + 1) / self.warmup
        return self._curve((step - self.warmup) / max(1, steps - self.warmup))

    def _curve(self, progress: float) -> float:
        """The factor at `progress` in [0,1] of the curve, without warm-up."""
        if self.name == "poly":
            shape = math.pow(1 - progress, self.power)
        elif self.name == "cosine":
            shape = 0.5 * (1 + math.cos(math.pi * progress))
        else:
            shape = 1.0
        return self.min_lr + (1 - self.min_lr) * shape


Divisor = Literal["labelled", "all"]


class TaskLossConfig(TypedSettings):
    """How the cross-entropy with the labels is taken."""

    align_corners: bool = False
    """Whether the logits' bilinear upsampling to label size aligns the corner pixels, as in torch's `interpolate`."""

    divisor: Divisor = "labelled"
    """What the sum over pixels is divided by: the number of "labelled" ones, or of "all", void ones included, as
    OpenMMLab does."""

    auxiliary_weight: NonNegative | None = None
    """The weight of the same loss of each auxiliary head; null is what the network was published with, 0.4 for most."""

    boundary_weight: NonNegative | None = None
    """The weight of the loss of a boundary head (PIDNet's, STDC's); null is what it was published with, 20 and 1."""

    ohem: Annotated[float | None, WRITTEN_IF_SET] = Field(None, gt=0, le=1)
    """The probability of its class from which on a pixel is left out of the cross-entropy (online hard example mining);
    null leaves none out. DDRNet and PIDNet were trained with 0.9, STDC with 0.7. `divisor` then counts what is left, of
    each micro-batch for itself."""

    ohem_share: Annotated[float, WRITTEN_IF_SET] = Field(0.02, ge=0, le=1)
    """The least share of an image's labelled pixels that `ohem` keeps, the hardest ones."""

    @model_validator(mode="after")
    def _of_ohem(self) -> TaskLossConfig:
        if self.ohem is None and self.ohem_share != 0.02:
            raise ValueError("ohem_share says what ohem keeps, and ohem is null. Set ohem: 0.9, or leave it out")
        return self


def _trackers(value: Any) -> Any:
    """One name or several, each of a tracker that accelerate knows."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS  # not needed to show what keys there are

    names = [value] if isinstance(value, str) else [] if value is None else value
    for name in names if isinstance(names, list | tuple) else ():
        if name not in LOGGER_TYPE_TO_CLASS:
            every = sorted(LOGGER_TYPE_TO_CLASS)
            raise ValueError(
                f"no tracker is called '{name}'; there are: {', '.join(every)}.{nearest(str(name), every)}"
            )
    return list(dict.fromkeys(names)) if isinstance(names, list | tuple) else names


class TrainingConfig(TypedSettings):
    """How a network is trained; `teacher.train` has the same keys for a teacher that is trained here."""

    seed: int = Field(0, ge=0)
    """What initial weights, sample order, augmentation and dropout are drawn from; the same seed gives the same run."""

    steps: int = Field(40_000, ge=1)
    """Optimizer steps of the run."""

    batch_size: int = Field(8, ge=1)
    """Images of one optimizer step, over all processes and micro-batches together."""

    grad_accumulation: Annotated[int, MAY_CHANGE] = Field(1, ge=1)
    """Micro-batches that a step's batch is cut into to save memory; must divide `batch_size`, and 1 does not cut."""

    optimizer: OptimizerConfig = OptimizerConfig()
    """Which optimizer trains, and at what rates."""

    schedule: ScheduleConfig = ScheduleConfig()
    """How the learning rate changes over the run."""

    task_loss: Annotated[TaskLossConfig, WRITTEN_IF_SET] = TaskLossConfig()
    """How the cross-entropy with the labels is taken."""

    class_balance: float = Field(0.0, ge=0, le=1)
    """The exponent b of the cross-entropy's class weights, share^-b; 0 is plain cross-entropy, 0.5 helps thin and rare
    classes."""

    clip_grad: Positive | None = None
    """The largest norm that the gradient of a step may have; longer ones are scaled down, null sets no limit."""

    ema: float | None = Field(None, gt=0, lt=1)
    """The decay a step of the moving average of the weights, which is then validated and handed over, as 0.998, which
    looks back over some 500 steps; null hands over the weights themselves."""

    refit_images: Annotated[int, MAY_CHANGE, WRITTEN_IF_SET] = Field(0, ge=0)
    """Labelled training images that batch norm's statistics and one bias a class are fitted to after the last step,
    seen as in a test: whole, without augmentation; 0 leaves both as crops and class weights made them."""

    precision: PrecisionKey = "auto"
    """What networks compute in while they train: "fp32", "bf16" or "fp16" (with a loss scaler); weights stay fp32.
    "auto" takes bf16 for each network that it makes clearly faster here, in a trial before the first step, else fp32;
    the run keeps the choice."""

    channels_last: bool = True
    """Whether networks and images lie in memory with the channels last, which is faster for most convolutions."""

    compile: Annotated[Literal["auto", True, False], WRITTEN_IF_SET] = False
    """Whether networks are compiled (torch.compile) while they train; "auto" tries it at the start of a run and takes
    what is faster, false leaves them as they are."""

    workers: Annotated[int, MAY_CHANGE] = Field(2, ge=0)
    """Processes that load images, for each process that trains; 0 loads in the run itself."""

    validate_every: Annotated[int | None, MAY_CHANGE] = Field(None, ge=1)
    """Steps between validations; null validates ten times in a run."""

    validate_images: Annotated[int | None, MAY_CHANGE, WRITTEN_IF_SET] = Field(None, ge=1)
    """Images of a validation on the way, evenly spread over the set from a place that `seed` draws; null takes all.
    The last validation always takes all, and `keep: best` chooses by these images."""

    checkpoint_every: Annotated[int | None, MAY_CHANGE] = Field(None, ge=1)
    """Steps between saved states that a run can be resumed from; null saves ten times in a run."""

    log_every: Annotated[int, MAY_CHANGE] = Field(10, ge=1)
    """Steps between lines of the journal, which holds the loss terms."""

    log: Annotated[list[str], BeforeValidator(_trackers), MAY_CHANGE, WRITTEN_IF_SET] = Field(["tensorboard"])
    """The trackers that get the journal's numbers, the recipe, pictures and the table: "tensorboard", "wandb",
    "mlflow", "trackio" or any other that accelerate knows; [] is none. One that fails never stops a run."""

    log_images: Annotated[int, MAY_CHANGE, WRITTEN_IF_SET] = Field(2, ge=0)
    """Validation images that are drawn for the trackers after each validation: image, label and prediction."""

    keep: Literal["last", "best"] = "last"
    """Which weights the run hands over: the "last", or those of the "best" validation mIoU, whose score flatters
    because it was chosen on the same images."""

    on_nonfinite: Annotated[Literal["stop", "skip", "back_off"], MAY_CHANGE] = "stop"
    """What happens where a loss or gradient is not finite: "stop" the run, "skip" the step, or "back_off", which skips
    it and halves the learning rate for the rest of the run."""

    nonfinite_limit: Annotated[int, MAY_CHANGE] = Field(10, ge=1)
    """Steps that `on_nonfinite` may skip in a run; one more stops it."""

    on_unreadable: Annotated[Literal["stop", "skip"], MAY_CHANGE] = "stop"
    """What happens where a training sample can't be read: "stop" the run, or "skip" it and take another instead."""

    unreadable_limit: Annotated[float, MAY_CHANGE] = Field(0.01, gt=0, le=1)
    """The share of the training samples that `on_unreadable` may replace, at least one sample; more stop the run."""

    sync_bn: Annotated[bool | None, WRITTEN_IF_SET] = None
    """Whether the batch norms of several processes (student's and methods') read the joint batch; null: on CUDA."""

    auto_scale_lr: Annotated[bool, WRITTEN_IF_SET] = False
    """Whether a learning rate that came with a fragment or published row is scaled linearly where `batch_size` is not
    the one that came with it; false only warns."""

    @property
    def computes_in(self) -> Precision:
        """The precision of the student's pass; fp32 as long as nothing has chosen for "auto"."""
        return "fp32" if self.precision == "auto" else self.precision
