"""What the gradients of depthwise convolutions cost in bfloat16, PyTorch's own and those of `models/grouped.py`.

    OMP_NUM_THREADS=1 python benchmarks/depthwise.py

Networks: forward and backward of a batch of 8 crops of 160x224, in turn, the median of the rounds' processor time.
"""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import segdistill
from segdistill.models.grouped import replace_gradients
from segdistill.runtime.allocator import keep_freed_memory

ROUNDS = 7
RESULTS = Path(__file__).parent / "results" / "depthwise.json"
LAYERS = {
    "3x3, stride 2, 96 channels of 80x112": (96, 80, 112, 3, 2, 1),
    "5x5, stride 2, 144 channels of 40x56": (144, 40, 56, 5, 2, 1),
    "5x5, 288 channels of 20x28": (288, 20, 28, 5, 1, 1),
    "5x5, dilation 2, 1248 channels of 10x14": (1248, 10, 14, 5, 1, 2),
    "3x3, dilation 2, 960 channels of 10x14": (960, 10, 14, 3, 1, 2),
}
NETWORKS = ("lite2_deeplabv3plus", "mobilenetv2_deeplabv3plus", "mobilenetv2_short_deeplabv3plus", "pspnet_r18")


def in_turn(*calls: Callable[[], None]) -> list[float]:
    """Median processor time of each, in ms, one round after the other."""
    times: list[list[float]] = [[] for _ in calls]
    for round_ in range(ROUNDS + 1):
        for spent, call in zip(times, calls, strict=True):
            start = time.process_time()
            call()
            if round_:
                spent.append(time.process_time() - start)
    return [1000 * statistics.median(spent) for spent in times]


def both(module: nn.Module, image: torch.Tensor) -> list[float]:
    """The module's own time and that with fast gradients."""
    module = module.train().to(memory_format=torch.channels_last)
    image = image.contiguous(memory_format=torch.channels_last)

    def step(of: nn.Module) -> None:
        of.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            output = of(image)
        (output if isinstance(output, torch.Tensor) else output.logits).float().square().mean().backward()

    fast = copy.deepcopy(module)
    replace_gradients(fast)
    return in_turn(lambda: step(module), lambda: step(fast))


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory(torch.device("cpu"))
    rows = {}
    for name, (channels, height, width, kernel, stride, dilation) in LAYERS.items():
        padding = dilation * (kernel // 2)
        conv = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, channels, bias=False)
        rows[name] = both(conv, torch.randn(8, channels, height, width, requires_grad=True))
    for name in NETWORKS:
        rows[name] = both(segdistill.create_model(name, num_classes=11), torch.rand(8, 3, 160, 224))
    print("| | PyTorch's ms | ms here | times |\n|---|---|---|---|")
    for name, (plain, fast) in rows.items():
        print(f"| {name} | {plain:.1f} | {fast:.1f} | {plain / fast:.2f} |")
    result = {"torch": torch.__version__, "rows": {name: {"plain": a, "fast": b} for name, (a, b) in rows.items()}}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
