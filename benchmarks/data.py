"""How many training samples a second one core makes, beside the same steps written with torchvision v2 and PIL.

    OMP_NUM_THREADS=1 python benchmarks/data.py [--samples ../shared/data/samples] [--rounds 60]

Samples are read from disk, scaled, cropped, flipped and distorted; the two forms take turns, file by file, and the
figures are medians and means of a process's user and system time. The obvious form draws the same distributions: a
scale of 0.5 to 2, a crop by the category rule, a flip, `RandomPhotometricDistort`.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.storage import write_json, write_text
from segdistill.data.augment import Augment
from segdistill.data.base import Sample
from segdistill.data.reading import read_image, read_mask
from segdistill.runtime.environment import describe_environment

RESULTS = Path(__file__).parent / "results"
Pair = tuple[Path, Path]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, default=Path("../shared/data/samples"))
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows = [
        measure("1024x2048 PNG, crop 512x1024", cityscapes(options.samples), (512, 1024), None, options.rounds),
        measure("ADE20K JPEG, crop 512x512", ade20k(options.samples), (512, 512), (2048, 512), options.rounds),
    ]
    environment = describe_environment()
    lines = [
        "# Throughput of the training pipeline", "",
        f"Samples a second of one core, {options.rounds} samples each, reading included. {environment['machine']}, "
        f"torch {environment['packages']['torch']}, commit {environment['commit']}.", "",
        "| data | segdistill /s | torchvision v2 and PIL /s | times faster | of it reading, ms | ms | obvious ms |",
        "|---|---|---|---|---|---|---|",
        *map(line, rows), "",
    ]  # fmt: skip
    write_json(RESULTS / "data.json", {"rows": rows, "environment": environment})
    write_text(RESULTS / "data.md", "\n".join(lines))
    print("\n".join(lines))


def line(row: dict[str, Any]) -> str:
    ours, plain, reading = (row[f"{form}_s"] for form in ("ours", "plain", "reading"))
    return (
        f"| {row['data']} | {1 / ours:.1f} | {1 / plain:.1f} | {plain / ours:.2f} | {1e3 * reading:.1f} "
        f"| {1e3 * ours:.1f} | {1e3 * plain:.1f} |"
    )


def measure(
    name: str, pairs: Sequence[Pair], crop: tuple[int, int], base: tuple[int, int] | None, rounds: int
) -> dict[str, Any]:
    augment = Augment(crop=crop, base_size=base)
    plain = Obvious(crop, base)
    times: dict[str, list[float]] = {"reading_s": [], "ours_s": [], "plain_s": []}
    for turn in range(rounds):
        image, mask = pairs[turn % len(pairs)]
        generator = torch.Generator().manual_seed(turn)
        times["reading_s"].append(timed(lambda image=image, mask=mask: (read_image(image), read_mask(mask))))
        times["ours_s"].append(
            timed(
                lambda i=image, m=mask, g=generator: augment(
                    Sample(read_image(i), torch.from_numpy(read_mask(m)), ""), g
                )
            )
        )
        times["plain_s"].append(timed(lambda i=image, m=mask: plain(i, m)))
    return {"data": name, "files": len(pairs), **{key: statistics.mean(values) for key, values in times.items()}}


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


def cityscapes(samples: Path) -> list[Pair]:
    masks = sorted((samples / "cityscapes").rglob("*_gtFine_labelIds.png"))
    return [
        (
            Path(str(mask).replace("gtFine/", "leftImg8bit/").replace("_gtFine_labelIds", "_leftImg8bit")),
            mask,
        )
        for mask in masks
    ]


def ade20k(samples: Path) -> list[Pair]:
    root = next(folder for folder in samples.iterdir() if folder.name.startswith("ade"))
    images = sorted(root.rglob("images/**/*.jpg"))
    return [(image, Path(str(image).replace("/images/", "/annotations/")).with_suffix(".png")) for image in images]


if __name__ == "__main__":
    main()
