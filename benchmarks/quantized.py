"""What 8 bits cost a student before and after `int8=train`: mIoU of float, INT8, and INT8 trained for.

    python benchmarks/quantized.py FOLDER [--steps 80] [--rows 0 1 2 3] [--out benchmarks/results/quantized.json]

Trains a small student alone on generated streets in FOLDER (or takes the one that is there), then makes it hard to
quantize in the ways that hurt on devices: one scale a weight tensor, of depthwise convolutions whose channels differ by
orders of magnitude, and wide activations: what widens a channel is taken out again behind it, so the float student
computes the same but for its ReLU6, which become ReLU. The result is written after each row; those that are there
already are left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from timm.models._efficientnet_blocks import InvertedResidual
from torch import nn

import segdistill
from segdistill.exporting.export import export_model
from segdistill.exporting.settings import ExportSettings
from segdistill.models.loaded import LoadedModel
from segdistill.models.open import open_model
from segdistill.recipe.recipe import load_recipe
from segdistill.runtime.environment import describe_environment

RECIPE = (
    "streets", "tiny_pair", "role=student", "data.count=200", "workers=0", "steps=300", "validate_every=300",
    "augment.crop=[96,128]",
)  # fmt: skip
SIZE = (96, 128)
ROWS: tuple[tuple[str, bool, float], ...] = (
    ("a scale a channel", True, 1.0),
    ("one scale a tensor", False, 1.0),
    ("one scale a tensor, channels and activations 16 times as wide", False, 16.0),
    ("one scale a tensor, channels and activations 40 times as wide", False, 40.0),
)
"""What is made hard: in words, per_channel, and how much wider every fourth channel between two layers gets."""


def widen(network: nn.Module, factor: float) -> None:
    """Multiply every fourth channel that a depthwise convolution reads by `factor`, and divide its weights by it.

    The ReLU6 between the two becomes a ReLU, which lets the factor through.
    """
    for block in network.modules():
        if isinstance(block, InvertedResidual):
            block.bn1.act = nn.ReLU()
            with torch.no_grad():
                block.bn1.weight[::4] *= factor
                block.bn1.bias[::4] *= factor
                block.conv_dw.weight[::4] /= factor


def measure(model: LoadedModel, folder: Path, name: str, per_channel: bool, steps: int) -> dict[str, Any]:
    """One row."""
    recipe = load_recipe(folder / "recipe.yaml")
    settings = ExportSettings(size=SIZE, int8="train", per_channel=per_channel, steps=steps, max_drop=100)
    with tempfile.TemporaryDirectory() as out:
        done = export_model(model, settings, recipe, Path(out))
    report, parity = done.int8, done.files[1].parity
    assert report is not None
    assert parity is not None
    return {
        "name": name,
        "float": report.float_miou,
        "int8": report.untrained_miou,
        "trained": report.int8_miou,
        "steps": report.steps,
        "teacher": report.teacher,
        "pixels": parity.pixels,
        "difference": parity.difference,
        "scale": max(check.scale for check in parity.checks),
        "ms": {"float": report.float_latency.median, "int8": report.int8_latency.median},
    }


def markdown(rows: list[dict[str, Any]], environment: dict[str, Any]) -> str:
    """The table."""
    lines = [
        "# INT8 before and after `int8=train`",
        "",
        "Made by `python benchmarks/quantized.py FOLDER`: mobilenetv2_035_deeplabv3plus on generated streets (100 "
        "validation images, mIoU in percent). lost, regained: points that plain INT8 loses, and the share of them that "
        "the trained file has again. simulated: pixels whose class differs between the network that was trained with "
        "the rounding and the file.",
        "",
        "| weights | float | INT8 | int8=train | lost | regained | steps | simulated |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lost = row["float"] - row["int8"]
        share = f"{100 * (row['trained'] - row['int8']) / lost:.0f} %" if lost > 0.5 else ""
        lines.append(
            f"| {row['name']} | {row['float']:.2f} | {row['int8']:.2f} | {row['trained']:.2f} | {lost:.2f} | {share} | "
            f"{row['steps']} | {100 * row['pixels']:.2g} % |"
        )
    teachers = ", ".join(sorted({row["teacher"] for row in rows}))
    made = f"{environment['machine']}; torch {environment['packages']['torch']}; commit {environment['commit']}."
    return "\n".join([*lines, "", f"Teacher: {teachers}. {made}", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--rows", type=int, nargs="*", default=range(len(ROWS)))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "quantized.json")
    arguments = parser.parse_args()
    if not (arguments.folder / "student.yaml").is_file():
        segdistill.train(*RECIPE, f"out={arguments.folder}")
    rows = json.loads(arguments.out.read_text())["rows"] if arguments.out.is_file() else []
    for name, per_channel, factor in (ROWS[index] for index in arguments.rows):
        if name in {row["name"] for row in rows}:
            continue
        model = open_model(arguments.folder)
        if factor != 1:
            widen(model.network, factor)
        rows.append(measure(model, arguments.folder, name, per_channel, arguments.steps))
        environment = describe_environment(command=False)
        arguments.out.write_text(json.dumps({"rows": rows, "environment": environment}, indent=2) + "\n")
        arguments.out.with_suffix(".md").write_text(markdown(rows, environment))
        print(json.dumps(rows[-1]), flush=True)


if __name__ == "__main__":
    main()
