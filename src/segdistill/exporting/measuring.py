"""What a file is worth: its scores on validation, and its time an image."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segdistill.core.pixels import RGB
from segdistill.data import SegmentationDataset
from segdistill.evaluation.inference.inference import predict_classes
from segdistill.evaluation.scoring import Quality, count
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.network import SegmentationNetwork
from segdistill.recipe.recipe import Recipe
from segdistill.runtime.display import counting


@dataclass(frozen=True)
class Latency:
    """Milliseconds an image, over runs: the median, and the quartiles around it."""

    median: float
    low: float
    high: float


def score(
    network: SegmentationNetwork, data: SegmentationDataset, recipe: Recipe, name: str, *, quiet: bool
) -> Quality:
    """The scores of a network or file on a data set, run as the recipe says; edge and body are among them."""
    metrics = recipe.metrics.model_copy(update={"calibration": False, "agreement": False, "boundary": True})
    with counting(f"evaluate {name}", len(data), quiet=quiet) as done:
        counts = count(
            network, data, inference=recipe.inference, metrics=metrics, workers=recipe.workers, on_images=done,
            source=name,
        )  # fmt: skip
    return counts.quality()


def whole_images(recipe: Recipe) -> Recipe:
    """The recipe with images run whole, once, as an exported file does."""
    kept = recipe.inference.model_dump(include={"align_corners", "size_divisor"})
    return recipe.model_copy(update={"inference": InferenceConfig(**kept)})


def latencies(networks: Sequence[SegmentationNetwork], image: Tensor, *, runs: int, warmup: int = 3) -> list[Latency]:
    """Time each network from an image to its classes; they take turns, so a busy machine hits all alike.

    Args:
        networks: On the processor, exported files among them.
        image: uint8 (1,3,H,W).
        runs: How often each is timed.
        warmup: How often each runs before.
    """
    times: list[list[float]] = [[] for _ in networks]
    for turn in range(warmup + runs):
        for network, measured in zip(networks, times, strict=True):
            start = time.perf_counter()
            predict_classes(network, image)
            if turn >= warmup:
                measured.append(1000 * (time.perf_counter() - start))
    return [_latency(measured) for measured in times]


def _latency(times: Sequence[float]) -> Latency:
    low, median, high = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else (times[0],) * 3
    return Latency(median, low, high)


def timing_image(size: tuple[int, int], channels: int = RGB) -> Tensor:
    """An image of noise, uint8 (1,C,H,W), always the same."""
    noise = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (1, channels, *size), dtype=torch.uint8, generator=noise)
