"""What a network costs: parameters, multiply-adds, time an image."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from segdistill.evaluation.inference import predict_classes
from segdistill.models.segmenter import SegmentationNetwork


def parameters(network: SegmentationNetwork) -> int:
    """Parameters that inference uses: all but the auxiliary head's."""
    return sum(p.numel() for name, p in network.named_parameters() if network.part_of(name) != "auxiliary")


def gflops(network: nn.Module, image: Tensor) -> float:
    """Billions of multiply-adds of convolutions and matrix products on `image` (uint8 1,3,H,W); one counts 1."""
    with FlopCounterMode(display=False) as counter:
        predict_classes(network, image)
    return int(counter.get_total_flops()) / 2e9  # the counter counts a multiply-add as two


def milliseconds(networks: Sequence[nn.Module], image: Tensor, *, rounds: int = 15, warmup: int = 3) -> list[float]:
    """Median time of each network from uint8 `image` to classes; they take turns, so a busy machine hits all alike."""
    times: list[list[float]] = [[] for _ in networks]
    for turn in range(warmup + rounds):
        for network, measured in zip(networks, times, strict=True):
            _wait(image.device)
            began = time.perf_counter()
            predict_classes(network, image)
            _wait(image.device)
            if turn >= warmup:
                measured.append(1000 * (time.perf_counter() - began))
    return [statistics.median(measured) for measured in times]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
