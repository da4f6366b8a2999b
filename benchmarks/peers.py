"""What OpenMMLab and we take for the same work on this machine, in turn, each in a process of its own.

    python benchmarks/peers.py --data data/CamVid --openmmlab mm/bin/python [--rounds 3] [--works train distill]
                               [--runs RUN RUN150] [--samples data/samples]

Work: a training step of PSPNet-R18 (OpenMMLab's layout), batch 4, crops of 256x256; a CWD step, R101 teaches R18; an
image evaluated, 360x480 with 11 classes and 512x512 with 150; a training sample read, scaled, cropped, flipped and
distorted. Ours as it comes (precision=auto), in fp32, evaluated in bf16, and read from the pixels that data.decoded
keeps. What a network is evaluated in depends on its weights, as the classes must stay: --runs names two trained
PSPNet-R18s of 11 and of 150 classes, else ours are random, as theirs are. Both were made by `segdistill train DATA
student=pspnet_r18 role=student steps=500 batch_size=8 optimizer.name=adamw optimizer.lr=0.001 schedule.warmup=50
precision=bf16 ema=0.98 augment.crop=[160,224]`, DATA being `camvid class_balance=0.25`, and CamVid's train, trainannot,
val and valannot as a `folder` with 150 names for data.classes. The environment of theirs: torch as here,
"setuptools<81" mmengine==0.10.7 mmcv-lite==2.1.0 mmsegmentation==1.2.2 ftfy regex scipy joblib pydacefit, and
mmrazor==1.0.0 with --no-deps. Without --openmmlab only ours is measured, beside fp32.

The table and the JSON have seconds of the main process by processor and by wall: medians over rounds. Loaders have one
worker. On one thread (OMP_NUM_THREADS=1) the processor's seconds count, as other processes disturb them less. What is
measured replaces the same rows of an earlier run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segdistill.core.storage import write_json, write_text
from segdistill.runtime.environment import describe_environment

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BF16 = "inference.precision=bf16"
KEPT = ("ours, data.decoded", "--decoded")
LOADS = {
    "load": (
        ("cityscapes/leftImg8bit/*/*/*.png", "cityscapes/gtFine/*/*/*labelIds.png"),
        "--crop 512 1024 --scale 2048 1024",
    ),
    "load_ade": (
        ("ade20k/*/images/*/*.jpg", "ade20k/*/annotations/*/*.png"),
        "--crop 512 512 --scale 2048 512 --suffix .jpg",
    ),
}
"""Where a work's images and masks lie among the samples, and the options of its pipeline."""
WORKS = {
    "train": ("a training step", 9, 11, (("ours, as it comes",), ("ours, fp32", "precision=fp32"))),
    "distill": ("a CWD step", 7, 11, (("ours, as it comes",), ("ours, fp32", "precision=fp32"))),
    "evaluate": ("an image of 360x480, 11 classes", 101, 11, (("ours, as it comes",), ("ours, bf16", BF16))),
    "evaluate150": ("an image of 512x512, 150 classes", 40, 150, (("ours, as it comes",), ("ours, bf16", BF16))),
    "load": ("a sample of a PNG of 1024x2048, crop 512x1024", 60, 34, (("ours, as it comes",), KEPT)),
    "load_ade": ("a sample of a JPEG of ADE20K, crop 512x512", 400, 151, (("ours, as it comes",), KEPT)),
}


@dataclass(frozen=True)
class Row:
    """Seconds of one side for one work.

    Attributes:
        work: In words.
        side: Who.
        processor: Of the main process.
        wall: On the clock.
        ratio: OpenMMLab's processor seconds, or without it those in fp32, by these.
    """

    work: str
    side: str
    processor: float
    wall: float
    ratio: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CamVid's folder")
    parser.add_argument("--openmmlab", help="the Python of an environment with OpenMMLab")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--works", nargs="+", default=list(WORKS), choices=WORKS)
    parser.add_argument("--runs", nargs=2, metavar="RUN", help="trained PSPNet-R18s of 11 and 150 classes")
    parser.add_argument("--samples", type=Path, default=Path("../shared/data/samples"), help="a few of each data set")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = kept_rows(options.out / "peers.json", options.works)
    with tempfile.TemporaryDirectory() as folder:
        for work in options.works:
            if work in LOADS:
                data = sample_files(options.samples, Path(folder) / work, *LOADS[work][0])
            else:
                data = options.data if work != "evaluate150" else many_classes(Path(options.data), Path(folder))
            run = options.runs[work == "evaluate150"] if options.runs and work.startswith("evaluate") else None
            rows += measured(work, str(data), options.openmmlab, options.rounds, run)
            print(*(line(row) for row in rows[-3:]), sep="\n", flush=True)
            made = describe_environment(command=False)
            write_json(options.out / "peers.json", {"rows": [asdict(row) for row in rows], **made})
    head = "| work | | processor s | wall s | times as fast |\n|---|---|---|---|---|\n"
    write_text(options.out / "peers.md", head + "".join(f"{line(row)}\n" for row in rows))


def kept_rows(file: Path, works: list[str]) -> list[Row]:
    """The rows of an earlier run that are not measured now."""
    if not file.is_file():
        return []
    again = {WORKS[work][0] for work in works}
    rows = [Row(**row) for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]
    return [row for row in rows if row.work not in again]


def measured(work: str, data: str, openmmlab: str | None, rounds: int, run: str | None) -> Iterator[Row]:
    """The sides of one work, which take turns."""
    what, count, classes, ours = WORKS[work]
    name = work.removesuffix("150").removesuffix("_ade")
    common = [name, "--data", data, "--count", str(count), "--classes", str(classes)]
    common += LOADS[work][1].split() if work in LOADS else []
    trained = ["--run", run] if run else []
    sides = {side: [sys.executable, str(HERE / "peers_ours.py"), *common, *trained, *words] for side, *words in ours}
    if openmmlab:
        sides = {"OpenMMLab": [openmmlab, str(HERE / "peers_openmmlab.py"), *common], **sides}
    times: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, command in sides.items():
            times[side].append(seconds(command))
    medians = {
        side: tuple(statistics.median(each[clock] for each in kept) for clock in ("processor", "wall"))
        for side, kept in times.items()
    }
    reference = "OpenMMLab" if openmmlab else list(sides)[-1]
    for side, (processor, wall) in medians.items():
        yield Row(what, side, processor, wall, None if side == reference else medians[reference][0] / processor)


def seconds(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    last: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return last


def sample_files(samples: Path, folder: Path, images: str, masks: str) -> Path:
    """Links to images and their masks, each pair by one name."""
    for split, pattern in (("train", images), ("trainannot", masks)):
        (folder / split).mkdir(parents=True)
        for number, file in enumerate(sorted(samples.glob(pattern))):
            (folder / split / f"{number}{file.suffix}").symlink_to(file.resolve())
    return folder


def many_classes(camvid: Path, folder: Path) -> Path:
    """CamVid's validation images at 512x512, with masks of 150 classes drawn at random in blocks."""
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in (split, f"{split}annot"):
            (folder / kind).mkdir(exist_ok=True)
        for file in sorted((camvid / "val").glob("*.png"))[:40]:
            Image.open(file).convert("RGB").resize((512, 512)).save(folder / split / file.name)
            mask = generator.integers(150, size=(8, 8), dtype=np.uint8).repeat(64, 0).repeat(64, 1)
            Image.fromarray(mask).save(folder / f"{split}annot" / file.name)
    return folder


def line(row: Row) -> str:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return f"| {row.work} | {row.side} | {row.processor:.3f} | {row.wall:.3f} | {ratio} |"


if __name__ == "__main__":
    main()
