"""What one network costs, in all and stage by stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from segdistill.core.results import Result
from segdistill.evaluation.cost.cost import (
    Size,
    Traced,
    milliseconds,
    parameters,
    stage_milliseconds,
    trace,
    training_bytes,
)
from segdistill.evaluation.cost.macs import CONVENTIONS, EXPLAINED, Convention, Kind
from segdistill.evaluation.cost.stages import OTHER, RESIZE, stage_parameters
from segdistill.evaluation.inference.inference import predict_classes
from segdistill.models.channels import image_channels
from segdistill.models.network import SegmentationNetwork


@dataclass(frozen=True)
class StageCost:
    """The cost of one stage.

    Attributes:
        name: of the stage.
        parameters: their number.
        macs: multiply-adds.
        activation_bytes: most bytes of activations alive while it ran.
        milliseconds: median time; None if not timed.
    """

    name: str
    parameters: int
    macs: int
    activation_bytes: int
    milliseconds: float | None


@dataclass(frozen=True, repr=False)
class Profile(Result):
    """The cost of a network for one image.

    Attributes:
        network: its name.
        num_classes: K.
        size: (H,W) of the image.
        convention: which operations count as multiply-adds, see `macs`.
        parameters: all, auxiliary head included as in the published tables.
        parameters_without_auxiliary: those that inference uses.
        macs: multiply-adds.
        macs_by_kind: the same by kind of operation.
        activation_bytes: most bytes alive at once during inference of one image.
        training_bytes: kept for the backward pass by an image; None if unknown.
        cuda_bytes: most that CUDA's allocator held above the weights at `batch` images; None elsewhere.
        milliseconds: median of `runs` warm runs from `batch` uint8 images to classes; None if not timed.
        runs: how often it was timed.
        batch: images a timed run.
        device: where it ran.
        stages: the cost of each, in the order that they ran.
        environment: machine and versions.
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
    device: str
    stages: tuple[StageCost, ...]
    environment: dict[str, Any]

    def records(self) -> list[dict[str, Any]]:
        """A line a stage."""
        return [asdict(stage) for stage in self.stages]

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


def measure(
    network: SegmentationNetwork,
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
    """Measure a network on a device; it is brought there and left there, in the mode (training or not) it was in.

    Args:
        network, device, size: what is measured, where it runs, and (H,W) of the image.
        name, num_classes, environment: for the profile.
        convention: which operations count as multiply-adds.
        latency, runs, batch: whether it is timed, how often, and with how many images a pass.

    Returns:
        The profile.

    Raises:
        SegdistillError: the network can't take an image of that size.
    """
    traced = trace(network.to(device), size, device)
    kinds = CONVENTIONS[convention]
    timed = _time(network, size, runs, batch, device) if latency else _Timed()
    stages = _stage_costs(network, traced, kinds, timed)
    return Profile(
        network=name,
        num_classes=num_classes,
        size=size,
        convention=convention,
        parameters=sum(stage.parameters for stage in stages),
        parameters_without_auxiliary=parameters(network),
        macs=sum(stage.macs for stage in stages),
        macs_by_kind={kind: count for kind, count in traced.macs.by_kind().items() if kind in kinds},
        activation_bytes=traced.live.peak,
        training_bytes=training_bytes(network, size, device),
        cuda_bytes=timed.cuda_bytes,
        milliseconds=timed.whole,
        runs=runs if latency else 0,
        batch=batch,
        device=_describe(device),
        stages=stages,
        environment=environment,
    )


@dataclass(frozen=True)
class _Timed:
    """Median milliseconds of the whole and of each stage; most bytes that CUDA's allocator held above the weights."""

    whole: float | None = None
    stages: dict[str, float] = field(default_factory=dict)
    cuda_bytes: int | None = None


def _stage_costs(network: nn.Module, traced: Traced, kinds: tuple[Kind, ...], timed: _Timed) -> tuple[StageCost, ...]:
    """The cost of each stage, in the order that they ran."""
    macs = {stage: sum(counts[kind] for kind in kinds) for stage, counts in traced.macs.counts.items()}
    weights = stage_parameters(network)
    return tuple(
        StageCost(
            name=stage,
            parameters=weights.get(stage, 0),
            macs=macs.get(stage, 0),
            activation_bytes=traced.live.peaks.get(stage, 0),
            milliseconds=timed.stages.get(stage),
        )
        for stage in _ordered([*traced.live.peaks, *macs], weights)
    )


def _time(network: nn.Module, size: Size, runs: int, batch: int, device: torch.device) -> _Timed:
    training = network.training
    noise = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (batch, image_channels(network), *size), dtype=torch.uint8, generator=noise).to(
        device
    )
    (whole,) = milliseconds([network], image, rounds=runs)
    times = stage_milliseconds(network, image, runs)
    cuda_bytes = None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        predict_classes(network, image)
        cuda_bytes = torch.cuda.max_memory_allocated(device) - before
    network.train(training)
    return _Timed(whole, times, cuda_bytes)


def _describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _ordered(seen: list[str], weights: dict[str, int]) -> list[str]:
    """All stages once, as they ran, `other` first, `resize` last; those that only hold weights just before it."""
    middle = [stage for stage in dict.fromkeys([*seen, *weights]) if stage not in {OTHER, RESIZE}]
    return [OTHER, *middle, RESIZE]
