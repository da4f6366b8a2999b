"""Our side of `peers.py`: the same networks, images, crops and losses; prints the same JSON.

python benchmarks/peers_ours.py train|distill|evaluate|load --data CAMVID-LIKE --count N [--classes 11] [WORDS ..]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import torch
from step_run import fit

import segdistill
from segdistill.data import create_dataset
from segdistill.data.augment import Augment
from segdistill.data.decoded import Decoded
from segdistill.evaluation.scoring import count
from segdistill.models.open import create_model, open_model
from segdistill.runtime.allocator import keep_freed_memory
from segdistill.runtime.display import Display

ENOUGH_FOR_A_TRIAL = 1000  # steps that the recipe names; the run is left before


class Done(Exception):
    """The steps that are timed are made."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=["train", "distill", "evaluate", "load"])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--data", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--classes", type=int, default=11)
    parser.add_argument("--run", help="whose PSPNet-R18 is evaluated, else one of random weights")
    parser.add_argument("--crop", type=int, nargs=2, help="of a sample that is loaded, (H,W)")
    parser.add_argument(
        "--scale", type=int, nargs=2, help="its longer and shorter side before it is scaled and cropped"
    )
    parser.add_argument("--suffix", help="is found out")
    parser.add_argument("--decoded", action="store_true", help="load from kept pixels")
    options = parser.parse_intermixed_args()
    data = ["camvid" if options.classes == 11 else "folder", f"data.root={options.data}"]
    if options.classes != 11:
        data += [f"data.classes={[f'class{index}' for index in range(options.classes)]}"]
        data += ['data.images="{split}/{name}"', 'data.masks="{split}annot/{name}.png"']
    work = {"evaluate": evaluating, "load": loading}.get(options.work, training)
    processor, wall = work(options, [*data, *options.words])
    print(json.dumps({"processor": processor, "wall": wall}))


def training(options: argparse.Namespace, words: list[str]) -> tuple[float, float]:
    """Seconds of a step: the median of those after the third."""
    distils = options.work == "distill"
    times: list[tuple[float, float]] = []

    def step(display: Display, done: int, terms: dict[str, float]) -> None:
        times.append((time.process_time(), time.perf_counter()))
        if len(times) > options.count:
            raise Done

    with tempfile.TemporaryDirectory() as folder:
        words += ["openmmlab_pipeline", "augment.crop=256x256", "student=pspnet_r18", "batch_size=4", "workers=1"]
        words += [f"steps={ENOUGH_FOR_A_TRIAL}", f"out={folder}/run", "baseline=none"]
        words += ["teacher.network=pspnet_r101", "cwd_by_mmrazor"] if distils else []
        run = fit(segdistill.load_recipe(*words), distils=distils)
        next(run)
        with mock.patch.object(Display, "step", step), contextlib.suppress(Done):
            next(run, None)
    clocks = zip(*times, strict=True)
    processor, wall = ([after - before for before, after in pairwise(each)][3:] for each in clocks)
    return statistics.median(processor), statistics.median(wall)


def evaluating(options: argparse.Namespace, words: list[str]) -> tuple[float, float]:
    """Seconds of an image, the loader's start and the choice of a form among them."""
    recipe = segdistill.load_recipe(*words, "student=pspnet_r18")
    dataset = create_dataset(recipe.data, "val")
    torch.manual_seed(0)
    network: Any = open_model(options.run).network if options.run else create_model("pspnet_r18", options.classes)
    keep_freed_memory(torch.device("cpu"))
    began = time.process_time(), time.perf_counter()
    count(network, dataset, inference=recipe.inference, indices=range(options.count), workers=1)
    return (time.process_time() - began[0]) / options.count, (time.perf_counter() - began[1]) / options.count


def loading(options: argparse.Namespace, words: list[str]) -> tuple[float, float]:
    """Seconds of a sample: the mean of all after one of each file."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    recipe = segdistill.load_recipe(*words)
    augment = Augment(crop=tuple(options.crop), base_size=tuple(options.scale))
    with tempfile.TemporaryDirectory() as folder:
        files = create_dataset(recipe.data, "train")
        samples = Decoded(files, Path(folder), {}) if options.decoded else files
        for index in range(len(files)):
            samples[index]
        began = time.process_time(), time.perf_counter()
        for number in range(options.count):
            augment(samples[number % len(files)], torch.Generator().manual_seed(number))
        processor, wall = time.process_time() - began[0], time.perf_counter() - began[1]
    return processor / options.count, wall / options.count


if __name__ == "__main__":
    main()
