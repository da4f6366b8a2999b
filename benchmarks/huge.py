"""Memory of prediction on huge images: resident memory over the image and its classes, image size by image size.

    python benchmarks/huge.py [--network mobilenetv2_pspnet] [--classes 150] [--sizes 2048 5000 20000] [--crop 1024]

Each row is a process of its own: an image of noise of that many pixels a side, predicted in windows with the defaults
of `inference`. `held` is the most resident memory of the process during prediction above that before it, the image's
classes taken off; it has the network's own activations for a batch of windows in it. `scores` is what all scores of the
image would take at its size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from segdistill.core.storage import write_json, write_text
from segdistill.evaluation.inference.inference import infer
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.open import create_model
from segdistill.runtime.allocator import keep_freed_memory
from segdistill.runtime.environment import describe_environment

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="mobilenetv2_pspnet")
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--sizes", nargs="+", type=int, default=[2048, 5000, 20000])
    parser.add_argument("--crop", type=int, default=1024)
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)  # one row, in a process of its own
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options, options.only)))
        return
    rows = []
    for size in options.sizes:
        command = [sys.executable, *sys.argv, "--only", str(size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    environment = describe_environment()
    lines = [
        "# Memory of prediction on huge images", "",
        f"`{options.network}`, {options.classes} classes, windows of {options.crop}; {environment['machine']}, "
        f"{environment['threads']} thread(s), torch {environment['packages']['torch']}, "
        f"commit {environment['commit']}.", "",
        "| image | image and classes, MB | all scores, MB | held, MB | seconds |", "|---|---|---|---|---|",
        *(
            f"| {row['size']:,} x {row['size']:,} | {row['given']:,.0f} | {row['scores']:,.0f} | {row['held']:,.0f} | "
            f"{row['seconds']:,.0f} |"
            for row in rows
        ), "",
    ]  # fmt: skip
    write_json(RESULTS / "huge.json", {"rows": rows, "crop": options.crop, "environment": environment})
    write_text(RESULTS / "huge.md", "\n".join(lines))
    print("\n".join(lines))


def measure(options: argparse.Namespace, size: int) -> dict[str, Any]:
    """Megabytes and seconds of one image."""
    keep_freed_memory(torch.device("cpu"))  # as `predict` does
    network = create_model(options.network, num_classes=options.classes)
    config = InferenceConfig(mode="slide", crop=(options.crop, options.crop))
    infer(network, torch.zeros(1, 3, 64, 64, dtype=torch.uint8), config)  # what a first call loads stays
    image = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8)
    process, done = psutil.Process(), threading.Event()
    before = most = process.memory_info().rss

    def watch() -> None:
        nonlocal most
        while not done.wait(0.02):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    classes = infer(network, image, config).classes
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    return {
        "size": size,
        "given": (image.nbytes + classes.nbytes) / 1e6,
        "scores": 4 * options.classes * size * size / 1e6,
        "held": (most - before - classes.nbytes) / 1e6,
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
