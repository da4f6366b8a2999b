"""The time of one pass of a network, forward or forward and backward: what trials before the first step compare."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from segdistill.core.outputs import SegOutput
from segdistill.core.precision import Precision, computing_in
from segdistill.evaluation.cost.cost import wait


def timed_pass(call: Callable[[Tensor], SegOutput], pixels: Tensor, precision: Precision, *, trains: bool) -> float:
    """Run a network once.

    Args:
        call: The network, or a form of it.
        pixels: Its input (N,3,H,W).
        precision: What it computes in.
        trains: Whether there is a backward pass, too, which adds gradients to its parameters.

    Returns:
        Seconds: of a single thread those that the processor worked, which other processes disturb least.
    """
    alone = pixels.device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    wait(pixels.device)
    began = clock()
    with computing_in(precision, pixels.device), torch.set_grad_enabled(trains):
        output = call(pixels)
        maps = (output.logits, output.embedding, output.auxiliary, *output.features)
        values = [each.float().mean() for each in maps if each is not None]
    if trains:
        torch.stack(values).sum().backward()
    wait(pixels.device)
    return clock() - began
