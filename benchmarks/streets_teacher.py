"""Trains the teacher that comes with the library, for the demo on generated scenes, and writes it in half precision.

    python benchmarks/streets_teacher.py FOLDER

Trains in FOLDER (or goes on there) by the recipe below, then writes src/segdistill/models/trained/streets_teacher.*,
some 4 MB. It learns other scenes than the student does: those of seed 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import segdistill
from segdistill.core.safe_yaml import read_yaml
from segdistill.core.storage import write_yaml
from segdistill.models.files import read_weights, save_weights

RECIPE = (
    "streets", "tiny_pair", "role=teacher", "data.count=1000", "data.seed=1", "precision=bf16", "workers=1",
    "checkpoint_every=500", "ema=0.998", "class_balance=0.25", "teacher.train.steps=4000",
    "teacher.train.validate_every=500",
)  # fmt: skip
HERE = Path(__file__).parents[1] / "src/segdistill/models/trained"


def main(folder: Path) -> None:
    run = segdistill.train(*RECIPE, f"out={folder}", resume=folder.is_dir())
    print(f"mIoU {run.scores.miou:.2f}")
    half = {
        name: value.half() if value.ndim > 1 else value  # norms are small and their range is not
        for name, value in read_weights(folder / "teacher.safetensors").items()
    }
    HERE.mkdir(exist_ok=True)
    save_weights(HERE / "streets_teacher.safetensors", half)
    write_yaml(HERE / "streets_teacher.yaml", read_yaml(folder / "teacher.yaml"))
    scores = segdistill.evaluate("streets_teacher", "streets", quiet=True).quality.scores
    print(f"mIoU {scores.miou:.2f} of the file on the scenes of the demo")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
