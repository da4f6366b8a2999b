"""What `refit_images` is worth to trained networks: mIoU as trained, with batch norm's statistics fitted, with both.

    python benchmarks/refit.py DATA_ROOT RUN [RUN ...] [--data camvid] [--images 100] [--out FILE.json]

RUN is a folder that `train` or `distill` wrote without `refit_images`; nothing in it is changed. Every row is validated
on all images of `val`, as the recipe of the data set says; minutes a network on one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

import segdistill
from segdistill.core.storage import write_json
from segdistill.data import create_dataset
from segdistill.data.base import SegmentationDataset
from segdistill.evaluation.scoring import count
from segdistill.models.network import SegmentationNetwork
from segdistill.recipe.recipe import Recipe, load_recipe
from segdistill.runtime.environment import describe_environment
from segdistill.training.refit.biases import class_layer
from segdistill.training.refit.refit import refit


def miou(network: SegmentationNetwork, data: SegmentationDataset, recipe: Recipe) -> float:
    """On all images, in fp32."""
    inference = recipe.inference.model_copy(update={"precision": "fp32"})
    return count(network, data, inference=inference).quality().scores.miou


@torch.no_grad()
def measure(run: Path, recipe: Recipe, images: int) -> dict[str, Any]:
    """The row of one run."""
    network = segdistill.load_model(run)
    val = create_dataset(recipe.data, "val")
    row: dict[str, Any] = {"run": run.name, "trained": miou(network, val, recipe)}
    began = time.perf_counter()
    fitted = refit(network, create_dataset(recipe.data, "train"), images, recipe.inference)
    assert fitted is not None
    row |= {"seconds": round(time.perf_counter() - began, 1), "share": fitted.share, "biases": fitted.biases}
    row |= {"train_before": fitted.before, "train_after": fitted.after, "both": miou(network, val, recipe)}
    if fitted.biases is not None:
        layer = class_layer(network, val[0].image[None] / 255)
        assert layer is not None
        layer.bias -= torch.tensor(fitted.biases)  # type: ignore[operator]
    row["statistics"] = miou(network, val, recipe)
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """In Markdown."""
    lines = ["| run | as trained | statistics | and biases | gain | share | seconds |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        gain = row["both"] - row["trained"]
        cells = [row["run"], *(f"{row[key]:.2f}" for key in ("trained", "statistics", "both")), f"{gain:+.2f}"]
        lines.append(f"| {' | '.join(cells)} | {row['share']:g} | {row['seconds']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data", default="camvid")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "refit.json")
    args = parser.parse_args()
    recipe = load_recipe(args.data, "tiny_pair", f"data.root={args.root}")
    stored = json.loads(args.out.read_text()) if args.out.is_file() else {"rows": []}
    rows = [row for row in stored["rows"] if row["run"] not in {run.name for run in args.runs}]
    # Before anything is written: a changed table is a change of the tree, too.
    environment = describe_environment(command=False)
    for run in args.runs:
        rows.append(measure(run, recipe, args.images))
        write_json(args.out, {"environment": environment, "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
