"""Writes the table of docs/models.md: every network of the zoo, what it is made of and what it costs.

python benchmarks/models_table.py
"""

from __future__ import annotations

from pathlib import Path

import torch

import segdistill
from segdistill.evaluation.cost.cost import trace
from segdistill.models.build import build
from segdistill.models.catalog import ZOO
from segdistill.models.families import NETWORKS
from segdistill.models.published import PUBLISHED
from segdistill.models.zoo import resolve_spec

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
START, END = "<!-- table: benchmarks/models_table.py -->\n", "<!-- end of table -->"
SIZE = (512, 512)
CLASSES = 19
NOT_BPKD = ("pspnet_r50", "hrnet_w18", "deeplabv3plus_r18", "deeplabv3_r101", "deeplabv3_r18")


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    PAGE.write_text(before + START + table() + END + rest.partition(END)[2], encoding="utf-8")


def table(*names: str) -> str:
    """The table, of these networks or of all."""
    lines = [
        "| name | backbone | head and width | coarsest stride | M params (with auxiliary) | GFLOPs | reads |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names or ZOO:
        spec = resolve_spec({"name": name})
        with torch.device("meta"):
            network = build(spec, CLASSES)
        whole = sum(parameter.numel() for parameter in network.parameters())
        used = sum(p.numel() for key, p in network.named_parameters() if network.section_of(key) != "auxiliary")
        macs = trace(network, SIZE, torch.device("meta")).macs.total("paper")
        head = spec.head if isinstance(spec.head, str) else spec.head["name"]
        stride = network.backbone.feature_info.reduction()[-1]  # type: ignore[union-attr, operator]
        lines.append(
            f"| `{name}` | {spec.backbone} | {head} {network.head.channels} | {stride} "  # type: ignore[union-attr]
            f"| {used / 1e6:.2f} ({whole / 1e6:.2f}) | {macs / 1e9:.2f} | {reads(name)} |"
        )
    return "\n".join(lines) + "\n"


def reads(name: str) -> str:
    """Which published files hold this network."""
    if name in NETWORKS or name.startswith(("upernet", "lraspp")):
        return "OpenMMLab"
    if name not in PUBLISHED:
        return "its own"
    if name.startswith("segformer"):
        whose = {"original": "NVlabs, Hugging Face", "cirkd": "CIRKD"}
        return whose.get(name.rpartition("_")[2], "OpenMMLab")
    if name.endswith("_cirkd2"):
        return "CIRKD, generation 2"
    if name.endswith("_mv2") and "plus" not in name:
        return "CIRKD, both generations"
    if name.endswith("_cirkd"):
        other = f"{name}2" in PUBLISHED
        return "CIRKD, generation 1" if other else "CIRKD, both generations"
    return "OpenMMLab" if name in NOT_BPKD else "OpenMMLab, BPKD"


if __name__ == "__main__":
    print(f"segdistill {segdistill.__name__}: {len(ZOO)} networks")
    main()
