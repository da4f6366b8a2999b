"""What each trick of the losses saves: a method as it is beside itself with the trick's plain twin in its place.

    OMP_NUM_THREADS=1 python benchmarks/cleverness.py [--sizes camvid city ade] [--seconds 8]

The twins are those of tests/plain_twins.py, which the tests hold to the same numbers. Processor time of forward and
backward, medians over rounds in turn; memory as in methods.py. A step is a step of the networks of `mobile_pair` at
that size, measured in the same process, with the task loss and the method. The budget: what saves less than 1 % of a
step of CamVid goes, unless its memory is missed. Rows are written to results/cleverness.json one by one.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from methods import RESULTS, SIZES, WIDTH, cost, peak, scene
from torch import Tensor

from segdistill import create_model
from segdistill.core.outputs import SegOutput
from segdistill.core.storage import write_json, write_text
from segdistill.methods import create_method
from segdistill.methods.base import Method
from segdistill.runtime.environment import describe_environment
from segdistill.training import task_loss

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from plain_twins import TWINS, Twin

ALL_SIZES = {"camvid": (8, 11, (40, 56), (160, 224)), **SIZES}
TABLE = "<!-- table: benchmarks/cleverness.py -->\n", "<!-- end of table -->"
Batch = tuple[SegOutput, SegOutput, Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["camvid"], choices=list(ALL_SIZES))
    parser.add_argument("--seconds", type=float, default=8.0, help="of each row at most, but one round")
    options = parser.parse_args()
    path = RESULTS / "cleverness.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    environment = {**describe_environment(), "command": "OMP_NUM_THREADS=1 python benchmarks/cleverness.py"}
    for size in options.sizes:
        batch = scene(ALL_SIZES[size], WIDTH)
        networks, *outputs = step(size)
        if size == "camvid":
            batch = (*map(_random, outputs), batch[2])
        task = statistics.median(cost(_task, None, *batch) for _ in range(5))
        for twin in TWINS:
            key = {"size": size, "trick": twin.trick, "method": twin.method, "options": twin.options}
            row = {**key, "commit": environment["commit"], **measure(twin, batch, options.seconds)}
            whole = networks + row["trick_s"] + (task if twin.method != "task" else 0)
            row |= {"networks_s": networks, "share": (row["plain_s"] - row["trick_s"]) / whole}
            rows = [other for other in rows if {name: other[name] for name in key} != key] + [row]
            print(row, flush=True)
            write_json(path, {"rows": rows, "environment": environment})
            write(rows, environment)


def step(size: str) -> tuple[float, SegOutput, SegOutput]:
    """Seconds of the networks of a step (the teacher forward, the student forward and backward), and their outputs."""
    n, k, _, (height, width) = ALL_SIZES[size]
    student, teacher = (
        create_model(name, num_classes=k).to(memory_format=torch.channels_last)
        for name in ("mobilenetv2_pspnet", "lite2_deeplabv3plus")
    )
    images = torch.randn(n, 3, height, width).contiguous(memory_format=torch.channels_last)
    student.train()
    teacher.eval()
    times = []
    for _ in range(3):
        began = time.process_time()
        with torch.no_grad():
            of_teacher = teacher(images)
        of_student = student(images)
        of_student.logits.sum().backward()
        times.append(time.process_time() - began)
    return min(times), of_student, of_teacher


def _random(output: SegOutput) -> SegOutput:
    """Normal numbers in maps of the same sizes and layouts in memory."""
    logits, embedding, *features = (torch.randn_like(x) for x in (output.logits, output.embedding, *output.features))
    return SegOutput(logits=logits, embedding=embedding, features=tuple(features))


def measure(twin: Twin, batch: Batch, seconds: float) -> dict[str, Any]:
    """Median seconds and peak MiB of the method with the trick and with its twin."""
    student, teacher, _ = batch
    method = None
    if twin.method != "task":
        torch.manual_seed(0)
        classes = student.logits.shape[1]
        method = create_method(twin.method, student=student, teacher=teacher, num_classes=classes, **twin.options)
    loss: Callable[..., Tensor] = partial(_method, student.features) if method is not None else _task
    cost(loss, method, *batch)
    times: dict[str, list[float]] = {"trick": [], "plain": []}
    memory = {}
    began = time.perf_counter()
    while not times["plain"] or (len(times["plain"]) < 9 and time.perf_counter() - began < seconds):
        state = copy.deepcopy(method.state_dict()) if method is not None else {}
        for form, taken in times.items():
            if method is not None:
                method.load_state_dict(state)
            replacement = twin.plain if form == "plain" else getattr(twin.owner, twin.attribute)
            with mock.patch.object(twin.owner, twin.attribute, replacement):
                if form not in memory:
                    memory[form], _ = peak(loss, method, *batch)
                taken.append(cost(loss, method, *batch))
    medians = {f"{form}_s": statistics.median(taken) for form, taken in times.items()}
    return {**medians, **{f"{form}_mib": value for form, value in memory.items()}, "rounds": len(times["plain"])}


def _task(method: None, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    return task_loss.task_loss(student.logits, label)


def _method(
    features: tuple[Tensor, ...], method: Method, student: SegOutput, teacher: SegOutput, label: Tensor
) -> Tensor:
    student = replace(student, features=tuple(x.detach().requires_grad_() for x in features))
    return torch.stack(list(method(student, teacher, label).values())).sum()


def write(rows: list[dict[str, Any]], environment: dict[str, Any]) -> None:
    """The table between the marks of results/cleverness.md; what stands around it stays."""
    cells = "| size | trick | method | plain ms | trick ms | share of a step | plain MiB | trick MiB | rounds |"
    lines = [cells, "|---" * (cells.count("|") - 1) + "|"]
    for row in rows:
        options = "".join(f" {name}={value}" for name, value in row["options"].items())
        lines.append(
            f"| {row['size']} | {row['trick']} | {row['method']}{options} | {1e3 * row['plain_s']:.1f} | "
            f"{1e3 * row['trick_s']:.1f} | {100 * row['share']:.1f} % | {row['plain_mib']:.0f} | "
            f"{row['trick_mib']:.0f} | {row['rounds']} |"
        )
    networks = ", ".join(f"{size} {1e3 * s:.0f} ms" for size, s in {r["size"]: r["networks_s"] for r in rows}.items())
    lines += [
        "", f"Networks of a step: {networks}. {environment['machine']}, {environment['threads']} thread, torch "
        f"{environment['packages']['torch']}, commits {', '.join(sorted({row['commit'] for row in rows}))}; "
        f"`{environment['command']}`.", "",
    ]  # fmt: skip
    page = RESULTS / "cleverness.md"
    text = page.read_text(encoding="utf-8") if page.exists() else "# A budget for cleverness\n\n" + "".join(TABLE)
    before, _, rest = text.partition(TABLE[0])
    write_text(page, before + TABLE[0] + "\n".join(lines) + TABLE[1] + rest.partition(TABLE[1])[2])


if __name__ == "__main__":
    main()
