"""What one network costs, in all and stage by stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from segdistill.evaluation.cost import (
    Size,
    milliseconds,
    parameters,
    stage_milliseconds,
    trace,
    training_bytes,
)
from segdistill.evaluation.inference import predict_classes
from segdistill.evaluation.macs import CONVENTIONS, EXPLAINED, Convention
from segdistill.evaluation.stages import OTHER, RESIZE, stage_parameters


@dataclass(frozen=True)
class StageCost:
    """One stage: its parameters, multiply-adds, most bytes of activations alive while it ran, median time."""

    name: str
    parameters: int
    macs: int
    activation_bytes: int
    milliseconds: float | None


@dataclass(frozen=True)
class Profile:
    """The cost of a network for one image of `size` (H,W).

    parameters: all, auxiliary head included as in the published tables. macs: by `convention` (see `evaluation.macs`).
    activation_bytes: most bytes alive at once during inference, batch 1; training_bytes: kept for the backward pass
    by an image, None if unknown; cuda_bytes: most that CUDA's allocator held above the weights at `batch` images,
    None elsewhere. milliseconds: median of `runs` warm runs from `batch` uint8 images to classes, None if not timed.
    """

    network: str
    num_classes: int
    size: Size
    convention: Convention
    parameters: int
    parameters_without_auxiliary: int
    macs: int
    macs_by_kind: dict[str, int]
    activation_bytes: int
    training_bytes: int | None
    cuda_bytes: int | None
    milliseconds: float | None
    runs: int
    batch: int
    stages: tuple[StageCost, ...]
    environment: dict[str, Any]

    @property
    def gflops(self) -> float:
        """Billions of multiply-adds."""
        return self.macs / 1e9

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self)
        plain["size"] = list(self.size)
        plain["stages"] = [{**asdict(stage), "gflops": stage.macs / 1e9} for stage in self.stages]
        return {**plain, "gflops": self.gflops, "convention_explained": EXPLAINED[self.convention]}


def profile_network(
    network: nn.Module,
    name: str,
    *,
    num_classes: int,
    size: Size,
    convention: Convention,
    latency: bool,
    runs: int,
    batch: int,
    device: torch.device,
    environment: dict[str, Any],
) -> Profile:
    """Measure `network` on `device`; it is brought there and left there, in the mode (training or not) it was in."""
    network.to(device)
    traced = trace(network, size, device)
    kinds = CONVENTIONS[convention]
    macs = {stage: sum(found[kind] for kind in kinds) for stage, found in traced.macs.counts.items()}
    whole, times, cuda_bytes = None, {}, None
    if latency:
        whole, times, cuda_bytes = _run(network, size, runs, batch, device)
    by_kind = traced.macs.by_kind()
    weights = stage_parameters(network)
    stages = _ordered([*traced.live.peaks, *macs, *times], weights)
    return Profile(
        network=name,
        num_classes=num_classes,
        size=size,
        convention=convention,
        parameters=sum(weights.values()),
        parameters_without_auxiliary=parameters(network),
        macs=sum(macs.values()),
        macs_by_kind={kind: by_kind[kind] for kind in kinds},
        activation_bytes=traced.live.peak,
        training_bytes=training_bytes(network, size, device),
        cuda_bytes=cuda_bytes,
        milliseconds=whole,
        runs=runs if latency else 0,
        batch=batch,
        stages=tuple(
            StageCost(
                stage, weights.get(stage, 0), macs.get(stage, 0), traced.live.peaks.get(stage, 0), times.get(stage)
            )
            for stage in stages
        ),
        environment=environment,
    )


def _run(
    network: nn.Module, size: Size, runs: int, batch: int, device: torch.device
) -> tuple[float, dict[str, float], int | None]:
    """Median milliseconds of the whole and of each stage; most bytes that CUDA's allocator held above the weights."""
    training = network.training
    noise = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8, generator=noise).to(device)
    (whole,) = milliseconds([network], image, rounds=runs)
    times = stage_milliseconds(network, image, rounds=runs)
    cuda_bytes = None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        predict_classes(network, image)
        cuda_bytes = torch.cuda.max_memory_allocated(device) - before
    network.train(training)
    return whole, times, cuda_bytes


def _ordered(seen: list[str], weights: dict[str, int]) -> list[str]:
    """All stages once, as they ran, `other` first, `resize` last; those that only hold weights just before it."""
    middle = [stage for stage in dict.fromkeys([*seen, *weights]) if stage not in {OTHER, RESIZE}]
    return [OTHER, *middle, RESIZE]
