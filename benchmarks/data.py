"""How many training samples a second one core makes, beside the same steps written with torchvision v2 and PIL.

    OMP_NUM_THREADS=1 python benchmarks/data.py [--samples ../shared/data/samples] [--rounds 60]

Samples are read from disk, scaled, cropped, flipped and distorted; the forms take turns, file by file, and the
figures are medians and means of a process's user and system time. The obvious form draws the same distributions: a
scale of 0.5 to 2, a crop by the category rule, a flip, `RandomPhotometricDistort`.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import cv2
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.storage import write_json, write_text
from segdistill.data import DatasetConfig, create_dataset
from segdistill.data.augment import Augment
from segdistill.data.decoded import Decoded
from segdistill.data.pairs import FilePairs
from segdistill.runtime.environment import describe_environment

RESULTS = Path(__file__).parent / "results"
SAMPLES: dict[str, tuple[str, Literal["train", "val"]]] = {
    "cityscapes": ("cityscapes", "train"),
    "ade20k": ("ade20k/ADEChallengeData2016", "val"),
}
"""Folder and split of the few files of each data set."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, default=Path("../shared/data/samples"))
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows = [
        measure("cityscapes", "1024x2048 PNG, crop 512x1024", options, (512, 1024), None),
        measure("ade20k", "ADE20K JPEG, crop 512x512", options, (512, 512), (2048, 512)),
    ]
    environment = describe_environment()
    lines = [
        "# Throughput of the training pipeline", "",
        f"Samples a second of one core, {options.rounds} samples each, reading included. {environment['machine']}, "
        f"torch {environment['packages']['torch']}, commit {environment['commit']}.", "",
        "decoded: from the pixels that `data.decoded` keeps, checked and in the system's file cache.", "",
        "| data | segdistill /s | decoded /s | torchvision v2 and PIL /s | times faster | decoded | of it reading, ms "
        "| ms | decoded ms | obvious ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *map(line, rows), "",
    ]  # fmt: skip
    write_json(RESULTS / "data.json", {"rows": rows, "environment": environment})
    write_text(RESULTS / "data.md", "\n".join(lines))
    print("\n".join(lines))


def line(row: dict[str, Any]) -> str:
    ours, decoded, plain, reading = (row[f"{form}_s"] for form in ("ours", "decoded", "plain", "reading"))
    return (
        f"| {row['data']} | {1 / ours:.1f} | {1 / decoded:.1f} | {1 / plain:.1f} | {plain / ours:.2f} | "
        f"{plain / decoded:.2f} | {1e3 * reading:.1f} | {1e3 * ours:.1f} | {1e3 * decoded:.1f} | {1e3 * plain:.1f} |"
    )


def measure(
    data_set: str, title: str, options: argparse.Namespace, crop: tuple[int, int], base: tuple[int, int] | None
) -> dict[str, Any]:
    augment, plain = Augment(crop=crop, base_size=base), Obvious(crop, base)
    times: dict[str, list[float]] = {"reading_s": [], "ours_s": [], "decoded_s": [], "plain_s": []}
    with tempfile.TemporaryDirectory() as folder:
        root, split = SAMPLES[data_set]
        files = create_dataset(DatasetConfig(name=data_set, root=options.samples / root, partial=True), split)
        assert isinstance(files, FilePairs)
        kept = Decoded(files, Path(folder), {})
        for index in range(len(files)):
            kept[index]
        for turn in range(options.rounds):
            index = turn % len(files)
            image, mask = files.pairs[index]
            assert mask is not None
            works: dict[str, Callable[[], object]] = {
                "reading_s": lambda i=index: files[i],
                "ours_s": lambda i=index, t=turn: augment(files[i], torch.Generator().manual_seed(t)),
                "decoded_s": lambda i=index, t=turn: augment(kept[i], torch.Generator().manual_seed(t)),
                "plain_s": lambda i=image, m=mask: plain(i, m),
            }
            for form, work in works.items():
                times[form].append(timed(work))
    return {"data": title, "files": len(files), **{key: statistics.mean(values) for key, values in times.items()}}


def timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


class Obvious:
    """The recommended pipeline as its user would write it."""

    def __init__(self, crop: tuple[int, int], base: tuple[int, int] | None) -> None:
        self.crop, self.base = crop, base
        self.distort = v2.RandomPhotometricDistort(
            brightness=(1 - 32 / 255, 1 + 32 / 255), contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue=(-0.05, 0.05)
        )
        self.flip = v2.RandomHorizontalFlip()

    def __call__(self, image_file: Path, mask_file: Path) -> tuple[torch.Tensor, torch.Tensor]:
        image = v2.functional.to_image(Image.open(image_file).convert("RGB"))
        mask = tv_tensors.Mask(v2.functional.pil_to_tensor(Image.open(mask_file)))
        height, width = image.shape[-2:]
        factor = random.uniform(0.5, 2.0)
        if self.base is not None:
            long, short = (int(side * factor) for side in self.base)
            factor = min(long / max(height, width), short / min(height, width))
        size = [round(height * factor), round(width * factor)]
        image, mask = v2.functional.resize(image, size, antialias=True), v2.functional.resize(mask, size)
        below, beside = max(0, self.crop[0] - size[0]), max(0, self.crop[1] - size[1])
        image = v2.functional.pad(image, [0, 0, beside, below], fill=[124, 116, 104])
        mask = v2.functional.pad(mask, [0, 0, beside, below], fill=IGNORE_INDEX)
        for _ in range(11):
            top = random.randint(0, mask.shape[-2] - self.crop[0])
            left = random.randint(0, mask.shape[-1] - self.crop[1])
            window = mask[..., top : top + self.crop[0], left : left + self.crop[1]]
            labels, counts = window[window != IGNORE_INDEX].unique(return_counts=True)
            if len(labels) > 1 and counts.max() / counts.sum() < 0.75:
                break
        image, mask = (v2.functional.crop(x, top, left, *self.crop) for x in (image, mask))
        image, mask = self.flip(image, mask)
        return self.distort(image), mask[0]


if __name__ == "__main__":
    main()
