"""What a distillation step costs beyond its networks.

    python benchmarks/step_cost.py [PARTS...] [--methods none kd cwd bpkd] [--rounds 15]

Ratio = (whole step: student forward, task loss, teacher forward, method, backward) / (the same without the method:
student forward, task loss and backward, plus teacher forward). Both are timed in turn on the same batch, round by
round; the table shows the median of the rounds' ratios. The optimiser's step is in neither. Goal: 1.10 at most.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch

import segdistill
from segdistill.data import create_dataset
from segdistill.data.loading import Share, Stream, training_batches
from segdistill.evaluation.inference import as_input
from segdistill.methods import create_method
from segdistill.models.zoo import build, probe
from segdistill.storage import write_json, write_text
from segdistill.training.distiller import Distiller
from segdistill.training.folder import describe_environment

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["streets", "mobile_pair", "augment.crop=[160,224]"])
    parser.add_argument("--methods", nargs="+", default=["kd", "cwd", "bpkd"])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_intermixed_args()
    parts = [
        *options.parts, "student.backbone_weights=null", "teacher.network.backbone_weights=null",
    ]  # fmt: skip
    recipe = segdistill.load_recipe(*parts)
    data = create_dataset(recipe.data, "train")
    stream = Stream(data, recipe.augment, recipe.seed)
    batch = next(training_batches(stream, Share(recipe.batch_size), start=0, stop=1, workers=0))
    assert recipe.student is not None
    assert recipe.teacher.network is not None
    layout: Any = {"memory_format": torch.channels_last}
    student = build(recipe.student, len(data.classes)).to(**layout)
    teacher = build(recipe.teacher.network, len(data.classes)).to(**layout).eval()
    example = {"student": probe(student), "teacher": probe(teacher), "num_classes": len(data.classes)}
    plain = Distiller(student)
    rows = []
    for name in options.methods:
        whole = Distiller(student, [create_method(name, **example)], teacher)
        ratios, networks = [], []
        for turn in range(options.rounds + 2):
            first = seconds(plain, batch, teacher)
            second = seconds(whole, batch, None)
            if turn >= 2:
                ratios.append(second / first)
                networks.append(first)
        rows.append({"method": name, "ratio": statistics.median(ratios), "networks_s": statistics.median(networks)})
    environment = describe_environment()
    lines = [
        "# Cost of a distillation step", "",
        f"Recipe `{' '.join(options.parts)}`, batch {recipe.batch_size} of {'x'.join(map(str, recipe.augment.crop))}; "
        f"median of {options.rounds} paired rounds. {environment['machine']}, {environment['threads']} threads, torch "
        f"{environment['packages']['torch']}, commit {environment['commit']}.", "",
        "| method | whole step / networks alone | networks alone (s) |", "|---|---|---|",
        *(f"| {row['method']} | {row['ratio']:.3f} | {row['networks_s']:.3f} |" for row in rows), "",
    ]  # fmt: skip
    write_json(RESULTS / "step_cost.json", {"rows": rows, "environment": environment})
    write_text(RESULTS / "step_cost.md", "\n".join(lines))
    print("\n".join(lines))


def seconds(distiller: Distiller, batch: Any, teacher: torch.nn.Module | None) -> float:
    distiller.student.train()
    began = time.perf_counter()
    if teacher is not None:
        with torch.no_grad():
            teacher(as_input(batch.image))
    torch.stack(list(distiller(batch.image, batch.label).values())).sum().backward()
    elapsed = time.perf_counter() - began
    distiller.zero_grad(set_to_none=True)
    return elapsed


if __name__ == "__main__":
    main()
