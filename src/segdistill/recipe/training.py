"""The keys that say how a network is trained."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from segdistill.core.numbers import NonNegative
from segdistill.core.precision import Precision


class OptimizerConfig(BaseModel):
    """SGD (momentum 0.9) or AdamW. head_lr: factor on the rate of all that is not the backbone.

    decay_norms: whether weight decay also acts on biases and normalisation layers, as in the published protocols.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.01, gt=0)
    weight_decay: NonNegative = 5e-4
    momentum: float = Field(0.9, ge=0, lt=1)
    head_lr: float = Field(1.0, gt=0)
    decay_norms: bool = True


class ScheduleConfig(BaseModel):
    """Poly: lr * (1 - step/steps)^power, not below min_lr * lr; cosine: the half wave between the same ends.

    warmup: steps of linear rise from lr / warmup.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["poly", "cosine", "constant"] = "poly"
    power: NonNegative = 0.9
    warmup: int = Field(0, ge=0)
    min_lr: float = Field(0.0, ge=0, le=1)

    def factor(self, step: int, steps: int) -> float:
        """What the base rate is multiplied with at the 0-based `step` of `steps`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, steps - self.warmup)
        if self.name == "poly":
            shape = math.pow(1 - progress, self.power)
        elif self.name == "cosine":
            shape = 0.5 * (1 + math.cos(math.pi * progress))
        else:
            shape = 1.0
        return self.min_lr + (1 - self.min_lr) * shape


Divisor = Literal["labelled", "all"]


class TaskLossConfig(BaseModel):
    """Cross-entropy with the labels. align_corners: of the logits' bilinear upsampling to label size. divisor: the mean
    is over the "labelled" pixels, or void ones count in the divisor as well ("all", as in OpenMMLab). auxiliary_weight:
    of the same loss of each auxiliary head; null for what the network was published with, 0.4 for most.
    boundary_weight: of the loss of a boundary head (PIDNet's, STDC's); null for what it was published with, 20 and 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    align_corners: bool = False
    divisor: Divisor = "labelled"
    auxiliary_weight: NonNegative | None = None
    boundary_weight: NonNegative | None = None


class TrainingConfig(BaseModel):
    """How a network is trained.

    steps: optimiser steps. batch_size: images a step over all processes and micro-batches. grad_accumulation:
    micro-batches a step. clip_grad: largest gradient norm, null for no limit. validate_every, checkpoint_every: steps,
    null for a tenth of the run. keep: which weights the run hands over, the last or those of the best validation mIoU
    (the best is chosen on the validation images, so its score flatters). compile: whether networks are compiled
    (torch.compile) while they train; "auto" tries it at the start of a run and takes what is faster. workers:
    loader processes.
    task_loss: how the cross-entropy is taken. class_balance: exponent b of its class weights, share^-b; 0 is plain
    cross-entropy, 0.5 helps thin and rare classes.
    on_nonfinite: what a loss or gradient that is not finite does: "stop" the run, "skip" the step, or "back_off": skip
    it and halve the learning rate for the rest of the run. nonfinite_limit: steps that may be skipped in all; one more
    stops. on_unreadable: what a training sample that can't be read does: "stop" the run, or "skip": another one takes
    its place. unreadable_limit: share of the training samples that may be replaced, at least one; more stop.
    sync_bn: whether the batch norms of several processes (student's and methods') read the joint batch; null: on CUDA.
    auto_scale_lr: whether the rate that a fragment or published row brings is scaled linearly when batch_size is not
    the one that came with it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0)
    steps: int = Field(40_000, ge=1)
    batch_size: int = Field(8, ge=1)
    grad_accumulation: int = Field(1, ge=1)
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    task_loss: TaskLossConfig = TaskLossConfig()
    class_balance: float = Field(0.0, ge=0, le=1)
    clip_grad: float | None = Field(None, gt=0)
    precision: Precision = "fp32"
    channels_last: bool = True
    compile: Literal["auto", True, False] = False
    workers: int = Field(2, ge=0)
    validate_every: int | None = Field(None, ge=1)
    checkpoint_every: int | None = Field(None, ge=1)
    log_every: int = Field(10, ge=1)
    keep: Literal["last", "best"] = "last"
    on_nonfinite: Literal["stop", "skip", "back_off"] = "stop"
    nonfinite_limit: int = Field(10, ge=1)
    on_unreadable: Literal["stop", "skip"] = "stop"
    unreadable_limit: float = Field(0.01, gt=0, le=1)
    sync_bn: bool | None = None
    auto_scale_lr: bool = False
