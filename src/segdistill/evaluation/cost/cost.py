"""What a network costs: parameters, multiply-adds, memory, time an image."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from segdistill.core.errors import SegdistillError
from segdistill.evaluation.cost.macs import MacCounter
from segdistill.evaluation.cost.memory import LiveBytes, saved_for_backward
from segdistill.evaluation.cost.stages import Stages
from segdistill.evaluation.inference.inference import predict_classes
from segdistill.models.channels import image_channels
from segdistill.models.network import SegmentationNetwork

Size = tuple[int, int]
_WARMUP = 3  # rounds that are not timed


@dataclass(frozen=True)
class Traced:
    """What one image cost, by stage.

    Attributes:
        macs: its multiply-adds.
        live: its live activations.
    """

    macs: MacCounter
    live: LiveBytes


def parameters(network: SegmentationNetwork) -> int:
    """Parameters that inference uses: all but the auxiliary head's.

    Args:
        network: on any device.

    Returns:
        Their number.
    """
    return sum(p.numel() for name, p in network.named_parameters() if network.section_of(name) != "auxiliary")


def gflops(network: nn.Module, image: Tensor) -> float:
    """Billions of multiply-adds from one image to class scores of its size, as the papers count them; see `macs`.

    The network runs for real: once is little beside the timing that goes with it, and quicker than `trace` if small.

    Args:
        network: returns `SegOutput`; its mode stays what it was.
        image: (1,C,H,W), of which only size and device count.

    Returns:
        10^9 multiply-adds.
    """
    size = (image.shape[-2], image.shape[-1])
    return trace(network, size, image.device, fake=False).macs.total() / 1e9


def trace(network: nn.Module, size: Size, device: torch.device, *, fake: bool = True) -> Traced:
    """Follow one image to its classes. Nothing is computed: the tensors have a shape and no contents.

    Args:
        network: returns `SegOutput`; its mode stays what it was.
        size: (H,W) of the image.
        device: where the network is.
        fake: with False the network runs for real. So does, in any case, one that reads values as it goes (to choose
            what to do next), which can't run without them, and one that keeps tensors for later images, which must not
            be left with empty ones.

    Returns:
        Multiply-adds and live bytes, by stage.

    Raises:
        SegdistillError: the network can't take an image of that size.
    """
    if fake and not getattr(network, "keeps_tensors", False):
        with contextlib.suppress(RuntimeError):
            return _trace(network, size, device, fake=True)
    try:
        return _trace(network, size, device, fake=False)
    except RuntimeError as error:
        raise SegdistillError(f"The network can't take an image of {size[0]}x{size[1]} (HxW): {error}") from error


def _trace(network: nn.Module, size: Size, device: torch.device, *, fake: bool) -> Traced:
    training = network.training
    stages = Stages(network)
    macs, live = MacCounter(stages), LiveBytes(stages)
    try:
        with _contents(fake and device.type != "meta"), stages, macs, live:
            predict_classes(network, torch.zeros(1, image_channels(network), *size, dtype=torch.uint8, device=device))
    finally:
        network.train(training)
    return Traced(macs, live)


def training_bytes(network: nn.Module, size: Size, device: torch.device) -> int | None:
    """Bytes an image keeps for the backward pass, auxiliary head included.

    Half of what a batch of two keeps: batch norms refuse to train on one value a channel.

    Args:
        network: its mode stays what it was.
        size: (H,W) of the image.
        device: where the network is.

    Returns:
        Bytes; None if the network can't run without real contents.
    """
    if getattr(network, "keeps_tensors", False):
        return None
    training, channels = network.training, image_channels(network)
    try:
        with _contents(fake=True):
            return saved_for_backward(network.train(), torch.zeros(2, channels, *size, device=device)) // 2
    except RuntimeError:
        return None
    finally:
        network.train(training)


def _contents(fake: bool) -> contextlib.AbstractContextManager[object]:
    # Fake tensors keep their device, so that the same kernels are chosen, which those on "meta" would not be.
    return FakeTensorMode(allow_non_fake_inputs=True) if fake else contextlib.nullcontext()


def milliseconds(networks: Sequence[nn.Module], image: Tensor, *, rounds: int = 15) -> list[float]:
    """Median time of each network from image to classes; they take turns, so a busy machine hits all alike.

    Args:
        networks: on the device of the image.
        image: uint8 (N,3,H,W).
        rounds: how often each is timed, after it ran three times.

    Returns:
        Milliseconds a pass, one number a network.
    """
    times: list[list[float]] = [[] for _ in networks]
    for turn in range(_WARMUP + rounds):
        for network, measured in zip(networks, times, strict=True):
            wait(image.device)
            began = time.perf_counter()
            predict_classes(network, image)
            wait(image.device)
            if turn >= _WARMUP:
                measured.append(1000 * (time.perf_counter() - began))
    return [statistics.median(measured) for measured in times]


def stage_milliseconds(network: nn.Module, image: Tensor, rounds: int) -> dict[str, float]:
    """Median time of each stage on the way from image to classes, which following them lengthens a little.

    Args:
        network: on the device of the image.
        image: uint8 (N,3,H,W).
        rounds: how often it is timed, after it ran once.

    Returns:
        Stage -> milliseconds a pass.
    """
    times: dict[str, list[float]] = {}
    for turn in range(1 + rounds):
        spent: dict[str, float] = {}
        clock = _Clock(image.device, spent)
        with Stages(network, clock.change) as stages:
            clock.start()
            predict_classes(network, image)
            clock.change(stages.current, "")
        if turn:
            for stage, seconds in spent.items():
                times.setdefault(stage, []).append(1000 * seconds)
    return {stage: statistics.median(measured) for stage, measured in times.items()}


class _Clock:
    """Adds the time between two changes of stage to the stage that ran."""

    def __init__(self, device: torch.device, spent: dict[str, float]) -> None:
        self._device = device
        self._spent = spent
        self._since = 0.0

    def start(self) -> None:
        wait(self._device)
        self._since = time.perf_counter()

    def change(self, left: str, entered: str) -> None:
        wait(self._device)
        now = time.perf_counter()
        self._spent[left] = self._spent.get(left, 0.0) + now - self._since
        self._since = now


def wait(device: torch.device) -> None:
    """Let the device finish what it was given.

    Args:
        device: only "cuda" needs it.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
