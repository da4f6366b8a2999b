"""What each method costs: forward and backward, time and peak memory, beside a plain transcription of its formula.

    OMP_NUM_THREADS=1 python benchmarks/methods.py [--sizes city ade] [--methods task bpkd ...] [--rounds 5]

Processor time is the median over the rounds of a process's user and system time, the two forms in turn; memory is the
peak of what one forward and backward hold beyond inputs and parameters, as the profiler's ledger of allocations counts
it. Methods are found by discovery, with default options; those that know no plain form are measured alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from transcriptions import TRANSCRIPTIONS

from segdistill.methods import create_method, method_names
from segdistill.outputs import SegOutput
from segdistill.storage import write_json, write_text
from segdistill.training.folder import describe_environment
from segdistill.training.task_loss import task_loss

RESULTS = Path(__file__).parent / "results"
SIZES = {"city": (4, 19, (64, 128), (512, 1024)), "ade": (2, 150, (64, 64), (512, 512))}
WIDTH = 512
Loss = Callable[[SegOutput, SegOutput, Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--methods", nargs="+", default=["task", *method_names()])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = []
    for size in options.sizes:
        student, teacher, label = scene(size)
        for name in options.methods:
            forms = {"ours": ours(name, student, teacher)}
            if name in TRANSCRIPTIONS:
                forms["plain"] = TRANSCRIPTIONS[name]
            row: dict[str, Any] = {"size": size, "method": name}
            times: dict[str, list[float]] = {form: [] for form in forms}
            for turn in range(options.rounds + 1):
                for form, loss in forms.items():
                    seconds = cost(loss, student, teacher, label)
                    if turn:
                        times[form].append(seconds)
            for form, loss in forms.items():
                row[f"{form}_s"] = statistics.median(times[form])
                row[f"{form}_mib"] = peak(loss, student, teacher, label) / 2**20
            rows.append(row)
            print(row, flush=True)
    environment = describe_environment()
    shapes = "; ".join(
        f"{name}: N={n} K={k} logits {h}x{w} labels {height}x{width} D={WIDTH}"
        for name, (n, k, (h, w), (height, width)) in SIZES.items()
    )
    lines = [
        "# Cost of the methods", "",
        f"Forward and backward in float32, {shapes}. Median processor seconds of {options.rounds} rounds, peak MiB "
        f"beyond the inputs. {environment['machine']}, {environment['threads']} threads, torch "
        f"{environment['packages']['torch']}, commit {environment['commit']}.", "",
        "| size | method | s | plain s | times faster | MiB | plain MiB | share |", "|---|---|---|---|---|---|---|---|",
        *map(line, rows), "",
    ]  # fmt: skip
    write_json(RESULTS / "methods.json", {"rows": rows, "environment": environment})
    write_text(RESULTS / "methods.md", "\n".join(lines))
    print("\n".join(lines))


def line(row: dict[str, Any]) -> str:
    cells = [row["size"], row["method"], f"{row['ours_s']:.4f}"]
    if "plain_s" in row:
        cells += [f"{row['plain_s']:.4f}", f"{row['plain_s'] / row['ours_s']:.1f}", f"{row['ours_mib']:.0f}"]
        cells += [f"{row['plain_mib']:.0f}", f"{row['ours_mib'] / row['plain_mib']:.2f}"]
    else:
        cells += ["", "", f"{row['ours_mib']:.0f}", "", ""]
    return f"| {' | '.join(cells)} |"


def scene(size: str) -> tuple[SegOutput, SegOutput, Tensor]:
    """Random maps, and labels of blocks of 16x16 pixels with a void strip at the bottom."""
    n, k, grid, (height, width) = SIZES[size]
    random = torch.Generator().manual_seed(0)

    def maps() -> SegOutput:
        logits, embedding = (torch.randn(n, c, *grid, generator=random) for c in (k, WIDTH))
        return SegOutput(logits=logits, embedding=embedding, features=(embedding,))

    student, teacher = maps(), maps()
    student.logits.requires_grad_()
    student.embedding.requires_grad_()
    label = torch.randint(0, k, (n, height // 16, width // 16), generator=random)
    label = label.repeat_interleave(16, 1).repeat_interleave(16, 2)
    label[:, -height // 16 :] = 255
    return student, teacher, label


def ours(name: str, student: SegOutput, teacher: SegOutput) -> Loss:
    if name == "task":
        return lambda s, t, label: task_loss(s.logits, label)
    method = create_method(name, student=student, teacher=teacher, num_classes=student.logits.shape[1])
    return lambda s, t, label: torch.stack(list(method(s, t, label).values())).sum()


def cost(loss: Loss, student: SegOutput, teacher: SegOutput, label: Tensor) -> float:
    student = fresh(student)
    began = time.process_time()
    loss(student, teacher, label).backward()
    return time.process_time() - began


def peak(loss: Loss, student: SegOutput, teacher: SegOutput, label: Tensor) -> float:
    """Bytes: the highest point of allocations minus releases."""
    student = fresh(student)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        loss(student, teacher, label).backward()
    held = highest = 0
    ledger = [event for event in trace.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(ledger, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return float(highest)


def fresh(student: SegOutput) -> SegOutput:
    logits, embedding = (x.detach().requires_grad_() for x in (student.logits, student.embedding))
    return replace(student, logits=logits, embedding=embedding, features=(embedding,))


if __name__ == "__main__":
    main()
