"""How many times as fast a network is in bf16 as in fp32 on this machine."""

from __future__ import annotations

import hashlib
import statistics

import torch
from torch import Tensor, nn

from segdistill.core.precision import Precision
from segdistill.core.remembered import remembered
from segdistill.evaluation.cost.timed_pass import timed_pass
from segdistill.runtime.environment import processor

GAIN = 1.15
"""From where on bf16 is worth its rounding: two measurements of one thing may differ by a tenth."""

_ROUNDS = 3
_BOTH: tuple[Precision, Precision] = ("fp32", "bf16")


def bf16_gain(network: nn.Module, pixels: Tensor, *, trains: bool) -> float:
    """How many times as fast bf16 is; measured once a machine for networks, images and threads of a kind.

    Args:
        network: Stays as it is.
        pixels: Its input (N,3,H,W).
        trains: Whether a pass forward and backward in training mode is timed, else one forward in evaluation mode.

    Returns:
        The median of seconds in fp32 / seconds in bf16 over rounds, in which the two take turns.
    """
    device = torch.cuda.get_device_name(pixels.device) if pixels.is_cuda else processor()
    layout = all(
        each.is_contiguous(memory_format=torch.channels_last) for each in network.parameters() if each.dim() == 4
    )
    what = (device, torch.get_num_threads(), torch.__version__, str(network), tuple(pixels.shape), trains, layout)
    key = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
    return remembered("bf16", key, lambda: _measure(network, pixels, trains=trains))


def _measure(network: nn.Module, pixels: Tensor, *, trains: bool) -> float:
    before = {name: value.clone() for name, value in network.named_buffers()} if trains else {}
    training = network.training
    network.train(trains)
    with torch.random.fork_rng(devices=[pixels.device] if pixels.is_cuda else []):
        times = [
            [timed_pass(network, pixels, precision, trains=trains) for precision in _BOTH] for _ in range(1 + _ROUNDS)
        ]
    network.train(training)
    if trains:
        network.zero_grad(set_to_none=True)
    for name, value in network.named_buffers():
        if name in before:
            value.copy_(before[name])
    return statistics.median(fp32 / bf16 for fp32, bf16 in times[1:])
