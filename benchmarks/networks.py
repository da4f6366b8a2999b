"""What the deployed networks cost at 1024x2048, beside the published numbers: results/networks.md and .json.

python benchmarks/networks.py [NAME ...]   # measures these and keeps the other rows
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from segdistill.evaluation.cost.cost import parameters, trace
from segdistill.models.build import build
from segdistill.models.zoo import resolve_spec

RESULTS = Path(__file__).parent / "results"
SIZE = (1024, 2048)
CLASSES = 19
PUBLISHED: dict[str, tuple[float | None, float | None, tuple[int, int], int, str]] = {
    "ddrnet_23_slim": (5.7, 36.3, SIZE, 19, "arXiv 2101.06085"),
    "ddrnet_23": (20.1, 143.1, SIZE, 19, "arXiv 2101.06085"),
    "pidnet_s": (7.6, 47.6, SIZE, 19, "arXiv 2206.02066"),
    "pidnet_m": (34.4, 197.4, SIZE, 19, "arXiv 2206.02066, of four blocks a stage; published weights have three"),
    "pidnet_l": (36.9, 275.8, SIZE, 19, "arXiv 2206.02066"),
    "stdc1": (None, None, SIZE, 19, ""),
    "stdc2": (None, None, SIZE, 19, ""),
    "bisenetv1_r18": (49.0, 55.3, (768, 1536), 19, "arXiv 1808.00897"),
    "bisenetv1_r50": (None, None, SIZE, 19, ""),
    "bisenetv2": (None, 21.15, (512, 1024), 19, "arXiv 2004.02147"),
    "fast_scnn": (1.11, None, SIZE, 19, "arXiv 1902.04502"),
    "lraspp_mv3_large": (None, None, SIZE, 19, ""),
    "icnet_r18": (None, None, SIZE, 19, ""),
    "icnet_r50": (26.5, 28.3, SIZE, 19, "arXiv 1704.08545, pruned to half the kernels"),
    "upernet_r18": (None, None, SIZE, 19, ""),
    "upernet_r50": (None, None, SIZE, 19, ""),
    "upernet_r101": (86.0, 1029.0, (512, 2048), 150, "arXiv 2103.14030"),
    "upernet_swin_t": (60.0, 945.0, (512, 2048), 150, "arXiv 2103.14030"),
    "upernet_swin_s": (81.0, 1038.0, (512, 2048), 150, "arXiv 2103.14030"),
    "upernet_swin_b": (121.0, 1188.0, (512, 2048), 150, "arXiv 2103.14030"),
}
"""Name -> million parameters and billion multiply-adds as printed, at which size and number of classes, and where."""


def main(names: list[str]) -> None:
    file = RESULTS / "networks.json"
    rows: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for name in names or PUBLISHED:
        rows[name] = measured(name)
        print(name, rows[name], flush=True)
    rows = {name: rows[name] for name in PUBLISHED if name in rows}
    file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "networks.md").write_text(page(rows), encoding="utf-8")


def measured(name: str) -> dict[str, Any]:
    """Parameters, and multiply-adds at 1024x2048 and at the published size."""
    _, gflops, size, classes, _ = PUBLISHED[name]
    row: dict[str, Any] = cost(name, SIZE, CLASSES)
    if gflops is not None and (size, classes) != (SIZE, CLASSES):
        row["at_published_size"] = cost(name, size, classes)
    return row


def cost(name: str, size: tuple[int, int], classes: int) -> dict[str, Any]:
    with torch.device("meta"):
        network = build(resolve_spec({"name": name}), classes)
    macs = trace(network.eval(), size, torch.device("meta")).macs
    return {
        "parameters": sum(each.numel() for each in network.parameters()),
        "parameters_without_auxiliary": parameters(network),
        "macs": {convention: macs.total(convention) for convention in ("conv", "paper")},
    }


def page(rows: dict[str, Any]) -> str:
    lines = [
        "# Deployed networks at 1024x2048",
        "",
        f"Made by `python benchmarks/networks.py`, {CLASSES} classes. Multiply-adds count 1 each: of convolutions and",
        "matrix products, and by the papers' rules with norms, pooling and resizing, as in docs/profile.md. Published",
        "numbers are as printed, mostly of convolutions; those of another size or number of classes stand beside ours",
        "at that size. Counted without running: no time, no machine in these numbers.",
        "",
        "| network | M parameters (with auxiliary) | G convolutions | G by the papers' rules "
        "| published: M, G | at | ours there: M, G | source |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        million, billion, size, classes, source = PUBLISHED[name]
        there = row.get("at_published_size", row)
        used, whole = row["parameters_without_auxiliary"] / 1e6, row["parameters"] / 1e6
        macs = {convention: count / 1e9 for convention, count in row["macs"].items()}
        published = million is not None or billion is not None
        printed = f"{'' if million is None else million}, {'' if billion is None else billion}" if published else ""
        ours = f"{there['parameters'] / 1e6:.2f}, {there['macs']['conv'] / 1e9:.1f}" if published else ""
        at = f"{size[0]}x{size[1]}, {classes} classes" if published else ""
        lines.append(
            f"| `{name}` | {used:.2f} ({whole:.2f}) | {macs['conv']:.1f} | {macs['paper']:.1f} "
            f"| {printed} | {at} | {ours} | {source} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
